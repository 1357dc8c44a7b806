/** Something that must not happen, with the bytes that made it happen. */
export class FuzzFinding extends Error {
  override readonly name = 'FuzzFinding';
  /** The message, or everything that the peer sent. */
  readonly bytes: Uint8Array;

  constructor(what: string, bytes: Uint8Array) {
    super(what);
    this.bytes = bytes;
  }
}

/** What was tried, so that a run that tries nothing is seen. */
export interface FuzzTally {
  /** Messages fed to decoders and connections. */
  messages: number;
  /** Payloads that decoded. */
  accepted: number;
  /** Payloads that did not. */
  refused: number;
  /** Descriptors that came with messages. */
  descriptors: number;
  /** Connections by how they ended. */
  readonly endings: Record<string, number>;
}

/** Nothing yet. */
export function emptyTally(): FuzzTally {
  return { messages: 0, accepted: 0, refused: 0, descriptors: 0, endings: {} };
}
