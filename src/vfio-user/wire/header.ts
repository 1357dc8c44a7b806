/** The sixteen bytes in front of every message. @module */
import { Errno } from './errno.ts';

/** Bytes of a header. */
export const HEADER_BYTES = 16;

const TYPE_MASK = 0xf;
const TYPE_COMMAND = 0;
const TYPE_REPLY = 1;
const FLAG_NO_REPLY = 1 << 4;
const FLAG_ERROR = 1 << 5;

/** What a header says. Source: vfio-user, "Header". */
export interface Header {
  /** Chosen by the sender of the command and echoed in the reply, 0 to 0xffff. Senders may use one twice at a time. */
  readonly id: number;
  /** A command's number, known or not, 0 to 0xffff. */
  readonly command: number;
  /** Bytes of the whole message, header included, as claimed: 0 to 2^32 - 1. */
  readonly size: number;
  readonly type: 'command' | 'reply';
  /** A command that must not be answered; false in replies. */
  readonly noReply: boolean;
  /** Why a command failed, 0 when it did not, and in commands. A failure without a number, which the specification allows, is EIO. */
  readonly errno: number;
}

/**
 * The header at `at`, of which all {@link HEADER_BYTES} bytes must be there. Undefined when the message is neither a
 * command nor a reply. `size` is not checked, and flags without a meaning are ignored. Never throws.
 */
export function readHeader(bytes: Uint8Array, at: number): Header | undefined {
  const flags = readUint32(bytes, at + 8);
  const type = flags & TYPE_MASK;
  if (type !== TYPE_COMMAND && type !== TYPE_REPLY) return undefined;
  const isReply = type === TYPE_REPLY;
  return {
    id: readUint16(bytes, at),
    command: readUint16(bytes, at + 2),
    size: readUint32(bytes, at + 4),
    type: isReply ? 'reply' : 'command',
    noReply: !isReply && (flags & FLAG_NO_REPLY) !== 0,
    errno: isReply && (flags & FLAG_ERROR) !== 0 ? readUint32(bytes, at + 12) || Errno.EIO : 0,
  };
}

/** Writes a header at `at`. An `errno` other than 0 sets the error bit. */
export function writeHeader(bytes: Uint8Array, at: number, header: Header): void {
  const flags =
    (header.type === 'reply' ? TYPE_REPLY : TYPE_COMMAND) |
    (header.noReply ? FLAG_NO_REPLY : 0) |
    (header.errno === 0 ? 0 : FLAG_ERROR);
  writeUint16(bytes, at, header.id);
  writeUint16(bytes, at + 2, header.command);
  writeUint32(bytes, at + 4, header.size);
  writeUint32(bytes, at + 8, flags);
  writeUint32(bytes, at + 12, header.errno);
}

// Byte by byte and not through a DataView: a header is read and written for every message, and a view of the whole
// stream buffer would be one more object each time.
function readUint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
