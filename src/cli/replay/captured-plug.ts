import type { RequesterId } from '../../iommu/index.ts';
import { Machine, type PluggedDevice } from '../../machine/index.ts';
import { MemoryHostIommu } from '../../vfio/index.ts';
import { capturedPlace } from './captured-place.ts';
import type { ReplayHost } from './replay-host.ts';
import type { ReplayOptions } from './replay-result.ts';
import type { OpenCapture } from '../source/source.ts';

/** A device plugged into a captured guest, with its host. */
export interface CapturedPlug {
  readonly open: OpenCapture;
  readonly machine: Machine;
  readonly host: ReplayHost;
  readonly device: PluggedDevice;
  /** How long the plug took, in milliseconds. */
  readonly replayMs: number;
}

/**
 * Plugs a VFIO device that the IOMMU sees as `requester`, onto `host`.
 *
 * @throws PlugRefusedError when the model or the host cannot serve it
 */
export async function plugCaptured(
  open: OpenCapture,
  requester: RequesterId,
  host: ReplayHost,
): Promise<CapturedPlug> {
  const { memory, unit, capture } = open;
  const machine = new Machine({ memory, iommu: unit.iommu });
  const place = capturedPlace(machine, capture, requester);
  const start = performance.now();
  const device = await machine.plug(place, host);
  return { open, machine, host, device, replayMs: performance.now() - start };
}

/** A host in memory. */
export function memoryHost({
  host,
  hostPageSize,
}: Pick<ReplayOptions, 'host' | 'hostPageSize'>): MemoryHostIommu {
  return new MemoryHostIommu({ strictness: host, pageSizes: pageSizesFrom(hostPageSize) });
}

/** Every page size of usual hosts that is not below the smallest. */
function pageSizesFrom(smallest: number): bigint {
  const usual = [0x1000n, 0x20_0000n, 0x4000_0000n].filter((size) => size > BigInt(smallest));
  return usual.reduce((mask, size) => mask | size, BigInt(smallest));
}
