/** How rows are printed: as JSON, one object a line within an array, or as a table with aligned columns. */
import { type Output, send } from './context.js';

/** Rows that go out together: a million flows are more than one string holds, and more than a pipe takes at once. */
const BLOCK = 1000;

export async function printJson(out: Output, rows: Iterable<object>): Promise<void> {
  let text = '[';
  let count = 0;
  for (const row of rows) {
    text += `${count++ === 0 ? '' : ','}\n  ${JSON.stringify(row)}`;
    if (count % BLOCK > 0) continue;
    await send(out, text);
    text = '';
  }
  await send(out, `${text}${count === 0 ? ']' : '\n]'}\n`);
}

/** Columns are as wide as their widest cell, in each block; the last one is not padded. */
export async function printTable(
  out: Output,
  header: readonly string[],
  rows: Iterable<readonly string[]>,
): Promise<void> {
  let block: (readonly string[])[] = [header];
  for (const row of rows) {
    block.push(row);
    if (block.length < BLOCK) continue;
    await send(out, formatColumns(block));
    block = [];
  }
  await send(out, formatColumns(block));
}

function formatColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('');
}
