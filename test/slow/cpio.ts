/** Writes archives in the "newc" cpio format, which Linux unpacks as its first root file system. @module */

/** A file, directory or device node to archive. */
export interface CpioEntry {
  /** Path without a leading slash. */
  readonly path: string;
  /** File type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [major: number, minor: number];
}

const TRAILER = 'TRAILER!!!';

/** The archive that holds `entries` in their order. */
export function cpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const parts = [...entries, { path: TRAILER, mode: 0 }].flatMap((entry, i) => record(entry, i + 1));
  return Buffer.concat(parts);
}

/** An executable file. */
export function executable(path: string, content: Uint8Array): CpioEntry {
  return { path, mode: 0o100755, content };
}

export function directory(path: string): CpioEntry {
  return { path, mode: 0o040755 };
}

function record({ path, mode, content, device = [0, 0] }: CpioEntry, inode: number): Uint8Array[] {
  const data = content ?? new Uint8Array(0);
  const name = Buffer.from(`${path}\0`);
  const [major, minor] = device;
  // Inode, mode, uid, gid, links, mtime, size, device of the file system, device of the node, name length, checksum.
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return [...padded(Buffer.concat([Buffer.from(header), name])), ...padded(data)];
}

/** Header with name, and content, each end at a multiple of four bytes. */
function padded(bytes: Uint8Array): Uint8Array[] {
  return [bytes, new Uint8Array(-bytes.length & 3)];
}
