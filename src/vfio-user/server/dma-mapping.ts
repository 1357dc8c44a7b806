import type { Access } from '../../memory/index.ts';

/** A mapping of guest memory, as the client made it. Everything is bytes. */
export interface DmaMapping {
  /** First DMA address. */
  readonly iova: bigint;
  readonly size: bigint;
  /** Where it lies in the file that came with it; what the client said when none did. */
  readonly offset: bigint;
  readonly access: Access;
  /** Whether a file came with it: memory is reached directly. Otherwise by DMA_READ and DMA_WRITE messages. */
  readonly shared: boolean;
}
