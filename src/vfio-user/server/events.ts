import type { Access } from '../../memory/index.ts';
import type { CloseReason } from '../close-reason.ts';
import type { Capabilities } from '../wire/index.ts';

/** Hears what a server's client does. Must not throw. */
export interface ServerEvents {
  /** A client has agreed on a version; `capabilities` are what both can do, as it was answered. */
  connected?(capabilities: Capabilities): void;
  /** The client is gone. Its mappings went without further events. */
  disconnected?(reason: CloseReason): void;
  /** A DMA_MAP was carried out or refused. */
  mapped?(event: DmaEvent): void;
  /** A DMA_UNMAP was carried out, which is after the DMA that it waited for, or refused. */
  unmapped?(event: DmaEvent): void;
}

/** A DMA_MAP or DMA_UNMAP. Everything is bytes. */
export interface DmaEvent {
  /** As the client said it; 0 and 2^64 when everything was unmapped. */
  readonly iova: bigint;
  readonly size: bigint;
  /** Where in its file; of an unmap undefined unless it was of one mapping exactly. */
  readonly offset?: bigint;
  /** Likewise. */
  readonly access?: Access;
  /** Mappings that came or went. */
  readonly count: number;
  /** `ok`, or the errno's name. */
  readonly result: string;
}
