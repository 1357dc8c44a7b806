import type { Access } from '../../memory/index.ts';
import type { CloseReason } from '../close-reason.ts';
import type { Capabilities } from '../wire/index.ts';

/** What a proxy does, for people. Nothing is put together for a member that is not there. Members must not throw. */
export interface ProxyEvents {
  /** Both sides agreed on a version; the capabilities are the server's, as the VMM was told them. */
  connected?(capabilities: Capabilities): void;
  /** A message passed through. DMA_MAP and DMA_UNMAP do not: they are asked and told. */
  passed?(message: PassedMessage): void;
  /** The VMM's DMA_MAP or DMA_UNMAP has its result. */
  asked?(event: ProxyDmaEvent): void;
  /** The server has answered a DMA_MAP or DMA_UNMAP that the proxy sent. */
  told?(event: ProxyDmaEvent): void;
  /** The proxy is over. */
  ended?(end: ProxyEnd): void;
}

/** A message that passed through. */
export interface PassedMessage {
  /** Who sent it. */
  readonly from: 'vmm' | 'server';
  readonly kind: 'command' | 'reply';
  /** The command's name, such as `REGION_READ`. */
  readonly command: string;
  /** Bytes, header included, as they were passed on. */
  readonly size: number;
  readonly descriptors: number;
  /** `ok`, or the errno's name in a reply that refuses. */
  readonly result: string;
}

/** A mapping that came or went, or did not. */
export interface ProxyDmaEvent {
  readonly op: 'map' | 'unmap';
  /** First byte address. */
  readonly iova: bigint;
  /** Bytes; 2^64 when everything is unmapped. */
  readonly size: bigint;
  /** Of a map: bytes from the beginning of the file; 0 when no descriptor came. */
  readonly offset?: bigint;
  /** Of a map. */
  readonly access?: Access;
  /** Mappings of the VMM that this came or went with: none or many for an unmap of the VMM, many for a merged mapping. */
  readonly count: number;
  /** `ok`, or the errno's name. */
  readonly result: string;
}

/** Why a proxy is over. */
export interface ProxyEnd {
  /** Whose end it was: the VMM's, the server's, or `close` here. */
  readonly side: 'vmm' | 'server' | 'here';
  /** One sentence for people: which side ended, why, and what became of the other. */
  readonly message: string;
  readonly reason: CloseReason;
}
