import type { Connection } from '../connection.ts';
import { type Descriptor, releaseAll } from '../descriptor.ts';
import {
  Command,
  emptyPayload,
  type IrqInfo,
  irqInfoReply,
  irqInfoRequest,
  type RegionInfo,
  regionInfoReply,
  regionInfoRequest,
  regionReadReply,
  regionReadRequest,
  regionWriteReply,
  regionWriteRequest,
  type SetIrqs,
  setIrqsRequest,
} from '../wire/index.ts';
import { type Agreement, answered, ask, understood, unusable } from './agreement.ts';

/** A region as the server describes it, and the file to map it by. */
export interface DeviceRegionInfo extends RegionInfo {
  /** The file of a region with `mmap`: the caller's, who releases each. */
  readonly descriptors: readonly Descriptor[];
}

/** Room for some sixty sparse areas, so that hardly any region needs a second question. */
const REGION_INFO_BYTES = 1024;
/** No region's description is larger than this. */
const LARGEST_REGION_INFO = 65_536;
const IRQ_INFO_BYTES = 16;

/** Regions, interrupts and reset of the device at the other end of a connection. Each call is one or more requests. */
export class DeviceAccess {
  readonly #connection: Connection;
  readonly #agreement: Agreement;

  constructor(connection: Connection, agreement: Agreement) {
    this.#connection = connection;
    this.#agreement = agreement;
  }

  /** See `VfioUserClient.regionInfo`. */
  async regionInfo(index: number): Promise<DeviceRegionInfo> {
    const first = await this.#regionInfo(index, REGION_INFO_BYTES);
    if (first.argsz <= REGION_INFO_BYTES) return first;
    releaseAll(first.descriptors);
    if (first.argsz > LARGEST_REGION_INFO) {
      throw unusable(
        this.#connection,
        `needs ${first.argsz} bytes to describe region ${index}: have it describe at most ${LARGEST_REGION_INFO}`,
      );
    }
    return this.#regionInfo(index, first.argsz);
  }

  /** See `VfioUserClient.irqInfo`. */
  async irqInfo(index: number): Promise<IrqInfo> {
    const payload = irqInfoRequest.encode({ argsz: IRQ_INFO_BYTES, index });
    const what = `the description of interrupt type ${index}`;
    const info = await ask(this.#connection, Command.DEVICE_GET_IRQ_INFO, payload, irqInfoReply, what);
    if (info.index === index) return info;
    throw unusable(
      this.#connection,
      `described interrupt type ${info.index} when asked for ${index}: use another version of it`,
    );
  }

  /** See `VfioUserClient.readRegion`. */
  async readRegion(region: number, offset: bigint, count: number): Promise<Uint8Array> {
    const data = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      const access = { region, offset: offset + BigInt(done), count: this.#piece(count - done) };
      const payload = regionReadRequest.encode(access);
      const what = `a read of ${access.count} bytes at 0x${access.offset.toString(16)} of region ${region}`;
      const reply = await ask(this.#connection, Command.REGION_READ, payload, regionReadReply, what);
      this.#checkCount(reply.count, access.count, what);
      data.set(reply.data, done);
      done += access.count;
    }
    return data;
  }

  /** See `VfioUserClient.writeRegion`. */
  async writeRegion(region: number, offset: bigint, data: Uint8Array): Promise<void> {
    for (let done = 0; done < data.length; ) {
      const count = this.#piece(data.length - done);
      const at = offset + BigInt(done);
      const piece = data.subarray(done, done + count);
      const payload = regionWriteRequest.encode({ region, offset: at, count, data: piece });
      const what = `a write of ${count} bytes at 0x${at.toString(16)} of region ${region}`;
      const reply = await ask(this.#connection, Command.REGION_WRITE, payload, regionWriteReply, what);
      this.#checkCount(reply.count, count, what);
      done += count;
    }
  }

  /** See `VfioUserClient.setIrqs`. */
  async setIrqs(irqs: SetIrqs, eventfds: readonly (Descriptor | undefined)[]): Promise<void> {
    if (irqs.data !== 'eventfd') {
      if (eventfds.length > 0) throw new RangeError("eventfds are given: set data to 'eventfd'");
      await this.#setIrqs(irqs, []);
      return;
    }
    if (eventfds.length !== irqs.count && eventfds.length !== 0) {
      throw new RangeError(
        `${eventfds.length} eventfds for ${irqs.count} interrupts: give one for each, or none`,
      );
    }
    const most = this.#connection.passesDescriptors ? this.#agreement.maxMsgFds : 0;
    if (most === 0 && eventfds.some((eventfd) => eventfd !== undefined)) {
      throw new Error(
        `${this.#connection.name} cannot be given eventfds over this connection: connect by a UNIX socket that passes descriptors`,
      );
    }
    if (eventfds.length === 0) await this.#setIrqs(irqs, []);
    for (let done = 0; done < eventfds.length; ) {
      const given = takeRun(eventfds, done, most);
      const count = given.length;
      await this.#setIrqs({ ...irqs, start: irqs.start + done, count }, given.filter(isGiven));
      done += count;
    }
  }

  /** See `VfioUserClient.reset`. */
  async reset(): Promise<void> {
    await ask(this.#connection, Command.DEVICE_RESET, undefined, emptyPayload);
  }

  async #regionInfo(index: number, argsz: number): Promise<DeviceRegionInfo> {
    const connection = this.#connection;
    const answer = await answered(
      connection,
      Command.DEVICE_GET_REGION_INFO,
      regionInfoRequest.encode({ argsz, index }),
      `the description of region ${index}`,
    );
    const { descriptors } = answer;
    try {
      const info = understood(connection, regionInfoReply, answer);
      if (info.index === index) return { ...info, descriptors };
      throw unusable(
        connection,
        `described region ${info.index} when asked for ${index}: use another version of it`,
      );
    } catch (error) {
      releaseAll(descriptors);
      throw error;
    }
  }

  async #setIrqs(irqs: SetIrqs, eventfds: readonly Descriptor[]): Promise<void> {
    const payload = setIrqsRequest.encode(irqs);
    const what = `${irqs.action} of interrupts ${irqs.start} to ${irqs.start + irqs.count - 1} of type ${irqs.index}`;
    await ask(this.#connection, Command.DEVICE_SET_IRQS, payload, emptyPayload, what, eventfds);
  }

  #piece(left: number): number {
    return Math.min(left, this.#agreement.maxDataXferSize);
  }

  #checkCount(done: number, asked: number, what: string): void {
    if (done === asked) return;
    throw unusable(this.#connection, `did ${done} bytes of ${what}: use another version of it`);
  }
}

/** The longest run from `start` on that is all given, `most` of them at the most, or all not given. */
function takeRun(
  eventfds: readonly (Descriptor | undefined)[],
  start: number,
  most: number,
): readonly (Descriptor | undefined)[] {
  const given = isGiven(eventfds[start]);
  const rest = eventfds.slice(start);
  const other = rest.findIndex((eventfd) => isGiven(eventfd) !== given);
  const run = other === -1 ? rest : rest.slice(0, other);
  return given ? run.slice(0, most) : run;
}

function isGiven(eventfd: Descriptor | undefined): eventfd is Descriptor {
  return eventfd !== undefined;
}
