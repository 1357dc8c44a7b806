/** The regions that a view ends in: RAM, ROM and devices. @module */
import { type RamBlock } from './ram-block.ts';
import { MemoryRegion } from './region.ts';

/** RAM, or ROM when `readonly`: a block of memory that devices reach directly. */
export class RamRegion extends MemoryRegion {
  readonly block: RamBlock;
  /** ROM: devices may read it, writes fail. */
  readonly readonly: boolean;

  constructor(name: string, block: RamBlock, options: { readonly readonly?: boolean } = {}) {
    super(name, block.pages);
    this.block = block;
    this.readonly = options.readonly ?? false;
  }
}

/** Reads and writes of a device's registers. Neither may throw; `false` means that the device refused. */
export interface DeviceHandler {
  /** Fills `data` from byte `offset` of the region; an access never crosses a page. */
  read(offset: number, data: Uint8Array): boolean;
  /** Takes `data` at byte `offset` of the region. */
  write(offset: number, data: Uint8Array): boolean;
}

/** Memory-mapped registers. Never mapped into a host IOMMU. */
export class DeviceRegion extends MemoryRegion {
  readonly handler: DeviceHandler;

  constructor(name: string, pages: number, handler: DeviceHandler) {
    super(name, pages);
    this.handler = handler;
  }
}
