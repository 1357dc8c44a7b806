/** What a client asks about the device, its interrupts and its reset. @module */
import { releaseAll } from '../descriptor.ts';
import {
  deviceFeatureRequest,
  deviceInfoReply,
  deviceInfoRequest,
  emptyPayload,
  encodeRegionInfo,
  encodeRegionIoFds,
  Errno,
  irqInfoReply,
  irqInfoRequest,
  PCI_IRQS,
  PCI_REGIONS,
  regionInfoRequest,
  regionIoFdsRequest,
  setIrqsRequest,
} from '../wire/index.ts';
import { describeRegion } from './regions.ts';
import type { Answer, Call, Served } from './served.ts';

/** DEVICE_GET_INFO. */
export function deviceGetInfo(_served: Served, { payload }: Call): Answer {
  const request = deviceInfoRequest.decode(payload);
  if (!request.ok) return request.errno;
  return deviceInfoReply.encode({ reset: true, pci: true, regions: PCI_REGIONS, irqs: PCI_IRQS });
}

/** DEVICE_GET_REGION_INFO. The descriptor of a region that can be mapped goes with an answer that is whole. */
export function deviceGetRegionInfo({ regions }: Served, { payload, passesDescriptors }: Call): Answer {
  const request = regionInfoRequest.decode(payload);
  if (!request.ok) return request.errno;
  const { argsz, index } = request.value;
  const region = regions.get(index);
  if (region === undefined) return Errno.EINVAL;
  const { info, descriptor } = describeRegion(region, index, passesDescriptors);
  const reply = encodeRegionInfo(info, argsz);
  const needed = new DataView(reply.buffer, reply.byteOffset).getUint32(0, true);
  if (descriptor === undefined || needed > argsz) return reply;
  return { payload: reply, descriptors: [descriptor] };
}

/** DEVICE_GET_REGION_IO_FDS: no region has any. */
export function deviceGetRegionIoFds({ regions }: Served, { payload }: Call): Answer {
  const request = regionIoFdsRequest.decode(payload);
  if (!request.ok) return request.errno;
  const { argsz, index } = request.value;
  if (regions.get(index) === undefined) return Errno.EINVAL;
  return encodeRegionIoFds(index, [], argsz);
}

/** DEVICE_GET_IRQ_INFO. */
export function deviceGetIrqInfo({ interrupts }: Served, { payload }: Call): Answer {
  const request = irqInfoRequest.decode(payload);
  if (!request.ok) return request.errno;
  const info = interrupts.info(request.value.index);
  return info === undefined ? Errno.EINVAL : irqInfoReply.encode(info);
}

/** DEVICE_SET_IRQS. */
export function deviceSetIrqs({ interrupts }: Served, { payload, descriptors }: Call): Answer {
  const request = setIrqsRequest.decode(payload);
  if (request.ok) return interrupts.set(request.value, descriptors);
  releaseAll(descriptors);
  return request.errno;
}

/** DEVICE_RESET: the server's part first, then the device's. Memory stays mapped and eventfds stay wired, as in VFIO. */
export function deviceReset(served: Served, { payload }: Call): Answer | Promise<Answer> {
  const request = emptyPayload.decode(payload);
  if (!request.ok) return request.errno;
  // First the interrupts: the command register no longer keeps an INTA quiet that is still asserted.
  served.interrupts.reset();
  served.config.reset();
  served.regions.reset();
  const pending = served.device.reset?.();
  return pending === undefined ? 0 : pending.then(() => 0);
}

/**
 * DEVICE_FEATURE: all that the protocol has belong to migration and none is supported, which Linux's VFIO, whose ioctl
 * this is, says with ENOTTY.
 */
export function deviceFeature(_served: Served, { payload }: Call): Answer {
  const request = deviceFeatureRequest.decode(payload);
  return request.ok ? Errno.ENOTTY : request.errno;
}
