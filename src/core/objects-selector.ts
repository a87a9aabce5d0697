/** A label selector -> requirements in canonical order, so that selectors which say the same are equal. */
import { asRecord, Field, NONE, readChoice, readLabels, readText } from './objects-field.js';
import { OPERATORS, type Requirement, type Selector } from './model.js';

/** Reads matchLabels and matchExpressions; an absent selector selects everything, as an empty one does. */
export function readSelector(field: Field): Selector {
  const selector = field.object();
  for (const key of Object.keys(asRecord(selector.value) ?? {}))
    if (key !== 'matchLabels' && key !== 'matchExpressions')
      selector.at(key).fault('is no field of a selector: labels belong below matchLabels');
  const pairs = Object.entries(readLabels(selector.at('matchLabels')));
  const requirements = [
    ...pairs.map(([key, value]): Requirement => ({ key, operator: 'In', values: [value] })),
    ...selector
      .at('matchExpressions')
      .items()
      .map((item) => readRequirement(item.object())),
  ];
  if (requirements.length === 0) return NONE;
  const keyed = new Map(requirements.map((requirement) => [JSON.stringify(requirement), requirement]));
  return [...keyed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, requirement]) => requirement);
}

function readRequirement(field: Field): Requirement {
  const key = field.at('key');
  const operator = field.at('operator');
  const list = field.at('values');
  if (key.absent || key.value === '') key.expected('the key of a label');
  if (operator.absent) operator.expected(OPERATORS.join(', '));
  const chosen = readChoice(operator, OPERATORS, 'In');
  const values = list.items().map((value) => {
    if (value.absent) value.expected('a string');
    return readText(value);
  });
  const wanted = chosen === 'In' || chosen === 'NotIn';
  if (wanted && values.length === 0) list.expected(`a list of at least one value, because operator is ${chosen}`);
  if (!wanted && values.length > 0) list.fault(`must be absent, because operator is ${chosen}`);
  return { key: readText(key), operator: chosen, values: values.length > 0 ? [...new Set(values)].sort() : NONE };
}
