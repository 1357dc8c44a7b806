/** DMA_MAP and DMA_UNMAP: carried out at once, without a promise, unless an unmap has to wait. @module */
import { type Access, formatAddress, type PageRange } from '../../memory/index.ts';
import { releaseAll } from '../descriptor.ts';
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
export function dmaMap(served: Served, { payload, descriptors }: Call): Answer {
  const request = dmaMapRequest.decode(payload);
  const refusal = request.ok ? enter(served, request.value, descriptors) : request;
  releaseAll(descriptors);
  if (refusal !== undefined) observe(served, 'map-refused', request.ok ? request.value : undefined, refusal);
  return refusal?.errno ?? 0;
}

function enter(served: Served, map: DmaMap, descriptors: Call['descriptors']): DmaRefusal | undefined {
  const before = served.table.size;
  const refusal =
    descriptors.length > 1
      ? { errno: Errno.EINVAL, reason: `${descriptors.length} descriptors came with it: send one or none` }
      : served.table.map(map, descriptors[0]);
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
  const where = span === undefined ? '' : ` at ${formatAddress(span.address)}`;
  served.observer.observe({
    kind,
    source: served.device.name,
    message: `${kind === 'map-refused' ? 'DMA_MAP' : 'DMA_UNMAP'}${where} was refused with ${errnoName(errno)}: ${reason}`,
    ...(span === undefined ? {} : { details: { iova: span.address, size: span.size, errno } }),
  });
}
