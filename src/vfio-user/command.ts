import type { Descriptor } from './descriptor.ts';

/** A command of the peer. */
export interface IncomingCommand {
  /** Its number: see `Command`. */
  readonly command: number;
  /** What follows the header; valid only until `onCommand` returns, unless copied. */
  readonly payload: Uint8Array;
  /** The peer wants no answer. It has to be answered here all the same, and nothing is sent. */
  readonly noReply: boolean;
  /** Descriptors that came with it: the receiver's, who releases each. */
  readonly descriptors: readonly Descriptor[];
  /**
   * Answers that it was done, at once or later, in any order among commands. Once, by this or by `fail`. The payload may
   * be reused afterwards; `descriptors` are held until they are sent.
   */
  reply(payload?: Uint8Array, descriptors?: readonly Descriptor[]): void;
  /** Answers that it was not done; `errno` as in `Errno`. */
  fail(errno: number): void;
}

/** The peer's answer to a request. */
export interface Reply {
  /** 0 when it was done; otherwise payload and descriptors are empty. */
  readonly errno: number;
  /** A copy, the caller's. */
  readonly payload: Uint8Array;
  /** The caller's, who releases each. */
  readonly descriptors: readonly Descriptor[];
}

/** Takes the answer to a request; undefined when the connection ended before it. Must not throw. */
export type ReplyTaken = (reply: Reply | undefined) => void;

/** Takes the answers to many requests, each with the tag that it was sent with. Must not throw. */
export type TaggedReplyTaken = (reply: Reply | undefined, tag: number) => void;

/** No bytes. */
export const EMPTY: Uint8Array = new Uint8Array(0);
/** No descriptors. */
export const NO_DESCRIPTORS: readonly Descriptor[] = [];
/** The answer that it was done, with nothing else to say: most are this. */
export const DONE: Reply = { errno: 0, payload: EMPTY, descriptors: NO_DESCRIPTORS };
