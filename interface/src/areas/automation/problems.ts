/** What the server has against `field` or anything inside of it. */
export function problemUnder(problems: Record<string, string>, field: string): string {
  const found = Object.entries(problems).find(([name]) => name === field || name.startsWith(`${field}.`));
  return found ? found[1].replace(new RegExp(`^${found[0].replaceAll('.', '\\.')}:? `), '') : '';
}

/** Of `field` alone. */
export function problemAt(problems: Record<string, string>, field: string): string {
  const told = problems[field] ?? '';
  return told.startsWith(`${field} `) ? told.slice(field.length + 1) : told;
}
