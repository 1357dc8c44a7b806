/**
 * Files of JSON lines, plain or gzip, read in pieces.
 *
 * @module
 */
import type { CaptureLine } from './capture-lines.ts';
import { GuestFileError } from './guest-file-error.ts';
import { contentOf, inspectFile } from './input-file.ts';

/** Far longer than any line of a capture: a file without line ends is no reason to fill memory. */
const MAX_LINE_CHARS = 65_536;
/** Some eight million lines. */
const MAX_FILE_BYTES: number = 512 * 1024 * 1024;

/**
 * Every line that is not blank, through `parse`, in order.
 *
 * @param path the file; named in errors together with the line
 * @param parse what makes a record of a line; throws GuestFileError
 * @throws GuestFileError for a file that cannot be read, exceeds `maxBytes`, or has a line that is no JSON object
 */
export async function readLines<T>(
  path: string,
  parse: (line: CaptureLine) => T,
  maxBytes: number = MAX_FILE_BYTES,
): Promise<T[]> {
  const input = await inspectFile(path, maxBytes);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const records: T[] = [];
  let number = 0;
  let rest = '';
  const take = (text: string): void => {
    number++;
    if (text.length > MAX_LINE_CHARS) {
      throw lineError(path, number, `is longer than ${MAX_LINE_CHARS} characters`);
    }
    if (text.trim() !== '') {
      records.push(parse({ file: path, number, text, value: parseObject(path, number, text) }));
    }
  };
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch (error) {
      throw lineError(path, number + 1, 'or one shortly after it is not UTF-8 text', error);
    }
  };
  for await (const chunk of contentOf(input)) {
    const lines = (rest + decode(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      take(line);
    }
    if (rest.length > MAX_LINE_CHARS) {
      take(rest);
    }
  }
  take(rest + decode());
  return records;
}

function parseObject(file: string, number: number, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw lineError(file, number, 'is not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw lineError(file, number, 'is not a JSON object');
  }
  return value as Readonly<Record<string, unknown>>;
}

function lineError(file: string, number: number, problem: string, cause?: unknown): GuestFileError {
  return new GuestFileError({
    code: 'json',
    file,
    place: `line ${number}`,
    problem: `this line ${problem}`,
    remedy: 'copy the file again or record the capture again',
    cause,
  });
}
