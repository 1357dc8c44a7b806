/** A value as it stands in source text: names unquoted, strings in single quotes, undefined members left out. */
export function literalText(value: unknown, indent: string = ''): string {
  const deeper = `${indent}  `;
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => literalText(item, deeper));
    const line = `[${items.join(', ')}]`;
    return fits(line, indent) || items.length === 0 ? line : `[\n${lines(items, deeper)}${indent}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]: [string, unknown]) => `${nameText(name)}: ${literalText(member, deeper)}`);
    if (members.length === 0) return '{}';
    const line = `{ ${members.join(', ')} }`;
    return fits(line, indent) ? line : `{\n${lines(members, deeper)}${indent}}`;
  }
  return String(value);
}

const WIDTH = 108;

function fits(line: string, indent: string): boolean {
  return !line.includes('\n') && indent.length + line.length <= WIDTH;
}

function lines(items: readonly string[], indent: string): string {
  return items.map((item) => `${indent}${item},\n`).join('');
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`;
}

function nameText(name: string): string {
  return /^[a-z_]\w*$/i.test(name) ? name : quoted(name);
}
