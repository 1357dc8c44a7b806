import type { RequesterId } from '../../iommu/index.ts';
import { Machine, type PluggedDevice } from '../../machine/index.ts';
import { MemoryHostIommu } from '../../vfio/index.ts';
import { capturedPlace } from './captured-place.ts';
import type { ReplayOptions } from './replay-result.ts';
import type { OpenCapture } from '../source/source.ts';

/** A device plugged into a captured guest, with its host. */
export interface CapturedPlug {
  readonly open: OpenCapture;
  readonly machine: Machine;
  readonly host: MemoryHostIommu;
  readonly device: PluggedDevice;
  /** How long the plug took, in milliseconds. */
  readonly replayMs: number;
}

/**
 * Plugs a VFIO device that the IOMMU sees as `requester`.
 *
 * @throws PlugRefusedError when the model or the host cannot serve it
 */
export async function plugCaptured(
  open: OpenCapture,
  requester: RequesterId,
  options: Pick<ReplayOptions, 'host' | 'hostPageSize'>,
): Promise<CapturedPlug> {
  const { memory, iommu, capture } = open;
  const machine = new Machine({ memory, iommu });
  const host = new MemoryHostIommu({
    strictness: options.host,
    pageSizes: pageSizesFrom(options.hostPageSize),
  });
  const place = capturedPlace(machine, capture, requester);
  const start = performance.now();
  const device = await machine.plug(place, host);
  return { open, machine, host, device, replayMs: performance.now() - start };
}

/** Every page size of usual hosts that is not below the smallest. */
function pageSizesFrom(smallest: number): bigint {
  const usual = [0x1000n, 0x20_0000n, 0x4000_0000n].filter((size) => size > BigInt(smallest));
  return usual.reduce((mask, size) => mask | size, BigInt(smallest));
}
