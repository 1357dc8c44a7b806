/** REGION_READ, REGION_WRITE and REGION_WRITE_MULTI. @module */
import {
  Errno,
  type RegionAccess,
  type RegionData,
  regionReadReply,
  regionReadRequest,
  regionWriteMultiReply,
  regionWriteMultiRequest,
  regionWriteReply,
  regionWriteRequest,
} from '../wire/index.ts';
import { inOrder } from './in-order.ts';
import type { RegionHandler } from './regions.ts';
import type { Answer, Call, Served } from './served.ts';

/** REGION_READ. */
export function regionRead(served: Served, { payload }: Call): Answer | Promise<Answer> {
  const request = regionReadRequest.decode(payload);
  if (!request.ok) return request.errno;
  const { offset, count } = request.value;
  const handler = handlerOf(served, request.value);
  if (handler === undefined) return Errno.EINVAL;
  const data = new Uint8Array(count);
  const answer = (): Answer => regionReadReply.encode({ ...request.value, data });
  const pending = handler.read(Number(offset), data);
  return pending === undefined ? answer() : pending.then(answer);
}

/** REGION_WRITE. */
export function regionWrite(served: Served, { payload }: Call): Answer | Promise<Answer> {
  const request = regionWriteRequest.decode(payload);
  if (!request.ok) return request.errno;
  const handler = handlerOf(served, request.value);
  if (handler === undefined) return Errno.EINVAL;
  const answer = (): Answer => regionWriteReply.encode(request.value);
  const pending = write(handler, request.value);
  return pending === undefined ? answer() : pending.then(answer);
}

/** REGION_WRITE_MULTI. One that is invalid lets none of them be done. */
export function regionWriteMulti(served: Served, { payload }: Call): Answer | Promise<Answer> {
  const request = regionWriteMultiRequest.decode(payload);
  if (!request.ok) return request.errno;
  const { writes } = request.value;
  const steps: (() => void | Promise<void>)[] = [];
  for (const access of writes) {
    const handler = handlerOf(served, access);
    if (handler === undefined) return Errno.EINVAL;
    // Later ones may come after the message's bytes are gone.
    const copy = { ...access, data: access.data.slice() };
    steps.push(() => write(handler, copy));
  }
  const answer = (): Answer => regionWriteMultiReply.encode({ completed: writes.length });
  const pending = inOrder(steps);
  return pending === undefined ? answer() : pending.then(answer);
}

/** What answers for the access; undefined when it is not inside a region, empty, or larger than was agreed. */
function handlerOf(
  { regions, limits }: Served,
  { region: index, offset, count }: RegionAccess,
): RegionHandler | undefined {
  const region = regions.get(index);
  if (region === undefined || count === 0 || count > limits.maxDataXferSize) return undefined;
  return offset + BigInt(count) <= BigInt(region.size) ? region.handler : undefined;
}

function write(handler: RegionHandler, { offset, data }: RegionData): void | Promise<void> {
  return handler.write(Number(offset), data.slice());
}
