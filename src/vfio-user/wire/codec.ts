/** What all messages have in common: a payload is bytes on the wire and a value inside. @module */
import { Errno } from './errno.ts';

/** What bytes mean, or why they mean nothing. */
export type Decoded<T> = Accepted<T> | Refused;

/** Bytes that mean something. */
export interface Accepted<T> {
  readonly ok: true;
  readonly value: T;
}

/** Bytes that are no such payload. */
export interface Refused {
  readonly ok: false;
  /** The answer that the sender of a request gets. */
  readonly errno: number;
  /** What is wrong, for people: `DMA_MAP: 12 bytes, must be at least 32`. */
  readonly reason: string;
}

/**
 * Both directions of one payload, the bytes after the header. Numbers are little-endian, the byte order of the hosts
 * that this runs on. A structure that begins with `argsz` may be longer than it is known here, as a newer peer's can be:
 * what follows is ignored. Every other payload has exactly the length that its fields say.
 */
export interface Codec<T> {
  /** The bytes, a new array. Numbers that do not fit their field are cut to it. */
  encode(value: T): Uint8Array;
  /** The value. Never throws; byte arrays in the value are views of `bytes`, not copies. */
  decode(bytes: Uint8Array): Decoded<T>;
}

/** The outcome that `value` was meant. */
export function accept<T>(value: T): Accepted<T> {
  return { ok: true, value };
}

/** The outcome that a payload is invalid. */
export function refuse(reason: string, errno: number = Errno.EINVAL): Refused {
  return { ok: false, errno, reason };
}

/** The outcome that a payload is shorter than `least` bytes. */
export function refuseLength(what: string, bytes: Uint8Array, least: number): Refused {
  return refuse(`${what}: ${bytes.length} bytes, must be at least ${least}`);
}

/** The outcome that `argsz` is less than the `least` bytes of the structure. */
export function refuseArgsz(what: string, argsz: number, least: number): Refused {
  return refuse(`${what}: argsz is ${argsz}, must be at least ${least}`);
}

/** The outcome that flags have bits without a meaning, or a combination without one. */
export function refuseFlags(what: string, flags: number): Refused {
  return refuse(`${what}: flags are 0x${(flags >>> 0).toString(16)}, which have no meaning`);
}

/** Fields of `bytes` by offset. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A message without a payload. */
export const emptyPayload: Codec<undefined> = {
  encode: () => new Uint8Array(0),
  decode: (bytes) => (bytes.length === 0 ? accept(undefined) : refuse(`${bytes.length} bytes, must be none`)),
};
