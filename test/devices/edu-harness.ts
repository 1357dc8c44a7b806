import { eduDevice, EduRegister } from '../../src/devices/index.ts';
import type { ObservedEvent } from '../../src/memory/index.ts';
import type { DeviceContext, HandledBar, PciDevice } from '../../src/vfio-user/index.ts';

/** Guest memory of a few pages at 2^40, so that addresses need more than 32 bits. */
export const GUEST_BASE = 2n ** 40n;
const GUEST_BYTES = 16 * 4096;

/** One device over memory and interrupts that only remember. */
export interface EduHarness {
  readonly device: PciDevice;
  readonly guest: Uint8Array;
  /** `trigger N` and `lower`, in order. */
  readonly interrupts: string[];
  readonly observed: ObservedEvent[];
  /** Transfers wait while this is set, until `letGo`. */
  stall: boolean;
  letGo(): void;
  readonly transfers: string[];
  read4(offset: number): number;
  read8(offset: number): bigint;
  readRaw(offset: number, bytes: number): Uint8Array;
  write4(offset: number, value: number): void;
  write8(offset: number, value: bigint): void;
  /** Runs what the device does later. */
  settle(): Promise<void>;
  /** Programs and starts a transfer with 8-byte writes. */
  transfer(source: bigint, destination: bigint, count: bigint, command: bigint): void;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer);
}

export function eduHarness(): EduHarness {
  const guest = new Uint8Array(GUEST_BYTES);
  const interrupts: string[] = [];
  const observed: ObservedEvent[] = [];
  const transfers: string[] = [];
  let waiting: (() => void)[] = [];
  const place = async (what: string, address: bigint, data: Uint8Array): Promise<number> => {
    transfers.push(`${what} ${data.length}`);
    if (harness.stall) await new Promise<void>((resolve) => waiting.push(resolve));
    const at = address - GUEST_BASE;
    if (at < 0n || at + BigInt(data.length) > BigInt(GUEST_BYTES)) {
      throw Object.assign(new Error('not mapped'), { code: 'VIOMMU_DMA', errno: 'EFAULT' });
    }
    return Number(at);
  };
  const context = {
    memory: {
      read: async (address: bigint, data: Uint8Array) => {
        const at = await place('read', address, data);
        data.set(guest.subarray(at, at + data.length));
      },
      write: async (address: bigint, data: Uint8Array) => {
        guest.set(data, await place('write', address, data));
      },
    },
    interrupts: {
      trigger: (vector = 0) => interrupts.push(`trigger ${vector}`) > 0,
      lower: () => void interrupts.push('lower'),
    },
  } as unknown as DeviceContext;
  const device = eduDevice({ observer: { observe: (event) => void observed.push(event) } });
  device.start?.(context);
  const bar = device.bars?.[0] as HandledBar;
  const harness: EduHarness = {
    device,
    guest,
    interrupts,
    observed,
    transfers,
    stall: false,
    letGo: () => {
      const all = waiting;
      waiting = [];
      for (const resolve of all) resolve();
    },
    readRaw: (offset, bytes) => {
      const data = new Uint8Array(bytes);
      void bar.read(offset, data);
      return data;
    },
    read4: (offset) => view(harness.readRaw(offset, 4)).getUint32(0, true),
    read8: (offset) => view(harness.readRaw(offset, 8)).getBigUint64(0, true),
    write4: (offset, value) => {
      const data = new Uint8Array(4);
      view(data).setUint32(0, value, true);
      void bar.write(offset, data);
    },
    write8: (offset, value) => {
      const data = new Uint8Array(8);
      view(data).setBigUint64(0, value, true);
      void bar.write(offset, data);
    },
    settle: () => new Promise((resolve) => setImmediate(resolve)),
    transfer: (source, destination, count, command) => {
      harness.write8(EduRegister.DmaSource, source);
      harness.write8(EduRegister.DmaDestination, destination);
      harness.write8(EduRegister.DmaCount, count);
      harness.write8(EduRegister.DmaCommand, command);
    },
  };
  return harness;
}
