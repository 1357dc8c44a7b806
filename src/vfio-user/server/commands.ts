import { Command } from '../wire/index.ts';
import {
  deviceFeature,
  deviceGetInfo,
  deviceGetIrqInfo,
  deviceGetRegionInfo,
  deviceGetRegionIoFds,
  deviceReset,
  deviceSetIrqs,
} from './device-commands.ts';
import { dmaMap, dmaUnmap } from './dma-commands.ts';
import { regionRead, regionWrite, regionWriteMulti } from './region-commands.ts';
import type { Handler } from './served.ts';

/** Who carries out which command. VERSION is the session's own. */
export const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [Command.DMA_MAP, dmaMap],
  [Command.DMA_UNMAP, dmaUnmap],
  [Command.DEVICE_GET_INFO, deviceGetInfo],
  [Command.DEVICE_GET_REGION_INFO, deviceGetRegionInfo],
  [Command.DEVICE_GET_REGION_IO_FDS, deviceGetRegionIoFds],
  [Command.DEVICE_GET_IRQ_INFO, deviceGetIrqInfo],
  [Command.DEVICE_SET_IRQS, deviceSetIrqs],
  [Command.REGION_READ, regionRead],
  [Command.REGION_WRITE, regionWrite],
  [Command.DEVICE_RESET, deviceReset],
  [Command.REGION_WRITE_MULTI, regionWriteMulti],
  [Command.DEVICE_FEATURE, deviceFeature],
]);

/** Commands that may come with descriptors; with any other they are released and the command is refused with EINVAL. */
export const TAKES_DESCRIPTORS: ReadonlySet<number> = new Set([Command.DMA_MAP, Command.DEVICE_SET_IRQS]);
