/** What is wrong with a file, in one stable word. */
export type GuestFileErrorCode =
  /** There is no such file or folder. */
  | 'not-found'
  /** It exists but cannot be opened or read (permissions, not a regular file, an I/O error). */
  | 'unreadable'
  /** It ends before what it announces. */
  | 'truncated'
  /** Its gzip stream is damaged. */
  | 'gzip'
  /** It exceeds the limit that bounds the memory a file may make its reader take. */
  | 'too-large'
  /** It is no ELF core of guest memory, or one that contradicts itself. */
  | 'elf'
  /** It is not JSON, or not lines of JSON. */
  | 'json'
  /** It is JSON, but not what the capture format asks for. */
  | 'capture';

/** The parts that make up a {@link GuestFileError}. */
export interface GuestFileProblem {
  readonly code: GuestFileErrorCode;
  /** The path as the caller gave it. */
  readonly file: string;
  /** Where in the file: a line, a JSON path, a header and its offset in bytes. Absent when the file as a whole is meant. */
  readonly place?: string;
  /** What is wrong, without a full stop. */
  readonly problem: string;
  /** What a person can do about it, without a full stop. */
  readonly remedy: string;
  readonly cause?: unknown;
}

/**
 * A file with guest state is missing, damaged or lying. This is the only error that the readers of this room throw
 * for the content of a file; the message names file, place and remedy.
 */
export class GuestFileError extends Error {
  override readonly name: string = 'GuestFileError';
  readonly code: GuestFileErrorCode;
  readonly file: string;
  readonly place: string | undefined;
  readonly remedy: string;

  constructor(parts: GuestFileProblem) {
    const place = parts.place === undefined ? '' : ` (${parts.place})`;
    const message = `${parts.file}: ${parts.problem}${place}; ${parts.remedy}`;
    super(escapeControls(message), parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = parts.code;
    this.file = parts.file;
    this.place = parts.place;
    this.remedy = parts.remedy;
  }
}

/**
 * The error for content that ends before something it announces.
 *
 * @param needed exclusive end, in bytes, of what was announced
 * @param available where the content ends, in bytes
 */
export function truncated(file: string, place: string, needed: number, available: number): GuestFileError {
  return new GuestFileError({
    code: 'truncated',
    file,
    place,
    problem: `it needs bytes up to 0x${needed.toString(16)} but the content ends at 0x${available.toString(16)}`,
    remedy: 'copy the file again or dump the guest again',
  });
}

/** The error for content past the limit of `maxBytes`. */
export function tooLarge(file: string, maxBytes: number): GuestFileError {
  return new GuestFileError({
    code: 'too-large',
    file,
    problem: `holds more than ${maxBytes} bytes`,
    remedy: 'check where the file comes from; if its size is right, read it with a larger maxBytes',
  });
}

/** A value from a file as an error message shows it: text quoted and cut after 60 characters, structures only named. */
export function quote(value: unknown): string {
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? 'an array' : 'an object';
  }
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, 61)) : String(value);
  return text.length > 62 ? `${text.slice(0, 60)}…` : text;
}

/** File names and contents end up on terminals, where a control character is an instruction. */
function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
