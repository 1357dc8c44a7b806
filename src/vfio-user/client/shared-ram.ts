import type { RamBlock } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';

/** RAM that lies in a file, which a server can map by its descriptor: DMA then needs no messages. */
export interface SharedRamBlock extends RamBlock {
  readonly share: {
    /** The file; the block's, which holds it as long as the RAM may be mapped anywhere. */
    readonly descriptor: Descriptor;
    /** Byte of the file at which the block begins, a multiple of 4,096. */
    readonly offset: bigint;
  };
}

/** Whether a server could map `block` by a descriptor. */
export function isShared(block: RamBlock): block is SharedRamBlock {
  return 'share' in block && block.share !== undefined;
}
