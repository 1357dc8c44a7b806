/** DMA_MAP and DMA_UNMAP: carried out at once, without a promise, unless an unmap has to wait. @module */
import { type Access, formatAddress, type PageRange } from '../../memory/index.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import {
  ADDRESS_END,
  type DmaMap,
  type DmaUnmap,
  dmaMapRequest,
  dmaUnmapReply,
  dmaUnmapRequest,
  Errno,
  errnoName,
} from '../wire/index.ts';
import type { DmaRefusal } from './dma-refusal.ts';
import type { Answer, Call, Served } from './served.ts';

/** DMA_MAP. Descriptors are only looked at: a file is kept by itself. */
export function dmaMap(served: Served, call: Call): Answer {
  const { payload, descriptors, lastFile } = call;
  lastFile?.came(descriptors);
  const request = dmaMapRequest.decode(payload);
  const refusal = request.ok ? enter(served, request.value, call) : request;
  releaseAll(descriptors);
  if (refusal !== undefined) observe(served, 'map-refused', request.ok ? request.value : undefined, refusal);
  return refusal?.errno ?? 0;
}

function enter(served: Served, map: DmaMap, call: Call): DmaRefusal | undefined {
  const before = served.table.size;
  const file = fileOf(map, call);
  const refusal = typeof file === 'string' ? invalid(file) : served.table.map(map, file);
  served.events?.mapped?.({
    iova: map.address,
    size: map.size,
    offset: map.offset,
    access: ((map.read ? 1 : 0) | (map.write ? 2 : 0)) as Access,
    count: served.table.size - before,
    result: refusal === undefined ? 'ok' : errnoName(refusal.errno),
  });
  return refusal;
}

/** By which descriptor the file of a mapping is known, if it has one; a reason when that cannot be told. */
function fileOf({ sameFile }: DmaMap, { descriptors, lastFile }: Call): Descriptor | string | undefined {
  const count = descriptors.length;
  if (count > 1) return `${count} descriptors came with it: send one or none`;
  if (sameFile !== true) return descriptors[0];
  if (lastFile === undefined)
    return 'it names the last file, which was not agreed on: propose same_file in VERSION';
  if (count > 0) return 'a descriptor came with it and it names the last file: do either';
  return lastFile.descriptor ?? 'it names the last file and none came before: send a descriptor';
}

/**
 * DMA_UNMAP. Direct access under way in the range is waited for; messages on their way there are abandoned, because the
 * client may serve none before it has the answer.
 */
export function dmaUnmap(served: Served, call: Call): Answer | Promise<Answer> {
  const request = dmaUnmapRequest.decode(call.payload);
  if (!request.ok) {
    observe(served, 'unmap-refused', undefined, request);
    return request.errno;
  }
  const range = served.table.judgeUnmap(request.value);
  if ('errno' in range) {
    observe(served, 'unmap-refused', request.value, range);
    served.events?.unmapped?.({ ...spanOf(request.value), count: 0, result: errnoName(range.errno) });
    return range.errno;
  }
  const waiting = served.traffic.unmapping(range);
  if (waiting === undefined) return remove(served, request.value, range);
  return waiting.then(() => {
    // The next client's mappings are not this one's to remove.
    if (!call.isOpen()) return Errno.ENOTCONN;
    served.traffic.unmapped();
    return remove(served, request.value, range);
  });
}

function remove(served: Served, request: DmaUnmap, range: PageRange): Answer {
  const { count, mapping } = served.table.remove(range, served.events !== undefined);
  const event = { ...spanOf(request), count, result: 'ok' };
  if (mapping === undefined) served.events?.unmapped?.(event);
  else served.events?.unmapped?.({ ...event, offset: mapping.offset, access: mapping.access });
  return dmaUnmapReply.encode(request);
}

function invalid(reason: string): DmaRefusal {
  return { errno: Errno.EINVAL, reason };
}

function spanOf({ all, address, size }: DmaUnmap): { iova: bigint; size: bigint } {
  return all ? { iova: 0n, size: ADDRESS_END } : { iova: address, size };
}

function observe(
  served: Served,
  kind: string,
  span: { readonly address: bigint; readonly size: bigint } | undefined,
  { errno, reason }: DmaRefusal,
): void {
  if (served.observer === undefined) return;
  const name = kind === 'map-refused' ? 'DMA_MAP' : 'DMA_UNMAP';
  const where = span === undefined ? '' : ` at ${formatAddress(span.address)}`;
  const why = reason.startsWith(`${name}: `) ? reason.slice(name.length + 2) : reason;
  served.observer.observe({
    kind,
    source: served.device.name,
    message: `${name}${where} was refused with ${errnoName(errno)}: ${why}`,
    ...(span === undefined ? {} : { details: { iova: span.address, size: span.size, errno } }),
  });
}
