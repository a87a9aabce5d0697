/** The Prometheus text format, read as a scraper reads it: strictly. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Family {
  type = 'untyped';
  readonly samples: Sample[] = [];
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** The value of the sample with this suffix and exactly these labels. */
  value(suffix = '', labels: Readonly<Record<string, string>> = {}): number | undefined {
    const same = (sample: Sample): boolean =>
      sample.name === this.name + suffix && JSON.stringify(sample.labels) === JSON.stringify(labels);
    return this.samples.find(same)?.value;
  }
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/y;

/** Families by name. Throws on a line that is none, a sample that is repeated and a family that stands in two places. */
export function parseMetrics(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  const open = (name: string): Family => {
    const family = families.get(name) ?? new Family(name);
    families.set(name, family);
    return family;
  };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === 'TYPE') {
      if (families.has(name) && open(name).samples.length > 0) throw new Error(`${name} stands in two places`);
      open(name).type = rest;
    }
    if (kind !== undefined) continue;
    const sample = sampleOf(line);
    const key = `${sample.name} ${JSON.stringify(sample.labels)}`;
    if (seen.has(key)) throw new Error(`${line} is repeated`);
    seen.add(key);
    const base = sample.name.replace(/_(bucket|sum|count)$/, '');
    open(families.get(base)?.type === 'histogram' ? base : sample.name).samples.push(sample);
  }
  return families;
}

function sampleOf(line: string): Sample {
  const [, name = '', inner = '', text = ''] = SAMPLE.exec(line) ?? [];
  const value = text === '+Inf' ? Infinity : Number(text);
  if (name === '' || Number.isNaN(value)) throw new Error(`not a sample: ${line}`);
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < inner.length) {
    const [, key = '', content = ''] = LABEL.exec(inner) ?? [];
    if (key === '') throw new Error(`labels of ${line}`);
    labels[key] = content;
  }
  return { name, labels, value };
}
