/** Label selectors: whether they match, and their text. */
import type { Labels, Requirement, Selector } from '../model.js';

/** NotIn and DoesNotExist match where the label is absent. */
export function matchesSelector(selector: Selector, labels: Labels): boolean {
  return selector.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}

/** As kubectl writes selectors: `app=web,tier in (a,b),!debug`. Two selectors have one text only if they are equal. */
export function selectorText(selector: Selector): string {
  return selector.map(requirementText).join(',');
}

export function requirementText({ key, operator, values }: Requirement): string {
  const name = word(key);
  const list = values.map(word).join(',');
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${name}=${list}` : `${name} in (${list})`;
    case 'NotIn':
      return values.length === 1 ? `${name}!=${list}` : `${name} notin (${list})`;
    case 'Exists':
      return name;
    case 'DoesNotExist':
      return `!${name}`;
  }
}

/** Labels of manifests need not keep to the rules of the API; what could be mistaken for syntax is quoted. */
function word(text: string): string {
  return /^[\w./-]*$/.test(text) ? text : JSON.stringify(text);
}
