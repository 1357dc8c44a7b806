import { describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import type { DeviceContext, PciDevice } from '../../../src/vfio-user/server/index.ts';
import {
  Command,
  dmaReadReply,
  dmaReadRequest,
  dmaWriteReply,
  dmaWriteRequest,
  IrqIndex,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor } from '../memory-channel.ts';
import type { RawClient } from './raw-client.ts';
import { buildWorld, settle, type World } from './world.ts';

/** The example of {@link PciDevice}, word for word. */
class Copier implements PciDevice {
  readonly name = 'copier';
  readonly vendorId = 0x1234;
  readonly deviceId = 0xc0b1;
  readonly classCode = 0x088000;
  readonly intx = true;
  readonly msi = { vectors: 1 };
  readonly #registers = new DataView(new ArrayBuffer(4096));
  #context!: DeviceContext;
  readonly bars = [
    {
      size: 4096,
      kind: 'memory32' as const,
      read: (offset: number, data: Uint8Array) => {
        data.set(new Uint8Array(this.#registers.buffer, offset, data.length));
        this.#context.interrupts.lower();
      },
      write: (offset: number, data: Uint8Array) => {
        new Uint8Array(this.#registers.buffer).set(data, offset);
        // Not awaited: memory that came without a file is served only after this write has been answered.
        if (offset === 24) void Promise.resolve().then(() => this.#copy());
      },
    },
  ];

  start(context: DeviceContext): void {
    this.#context = context;
  }

  async #copy(): Promise<void> {
    const [from, to, length] = [0, 8, 16].map((at) => this.#registers.getBigUint64(at, true));
    const { memory, interrupts } = this.#context;
    const data = new Uint8Array(Math.min(Number(length), 65_536));
    const done = await memory
      .read(from, data)
      .then(() => memory.write(to, data))
      .then(
        () => 1,
        () => 2,
      );
    this.#registers.setUint32(24, done, true);
    interrupts.trigger();
  }
}

/** Lets the device copy `length` bytes and gives what it says about it. */
async function copy(client: RawClient, from: bigint, to: bigint, length: bigint): Promise<number> {
  const registers = new DataView(new ArrayBuffer(24));
  [from, to, length].forEach((value, i) => registers.setBigUint64(i * 8, value, true));
  await client.write(0, 0, new Uint8Array(registers.buffer));
  await client.write(0, 24, new Uint8Array(4));
  await settle();
  return ((await client.read(0, 24, 4)) as Uint8Array)[0];
}

async function connect(index: number): Promise<{ world: World; client: RawClient }> {
  const device = new Copier();
  const { bars, intx, msi } = device;
  const world = buildWorld({ bars, intx, msi, start: (context) => device.start(context) });
  const client = await world.client();
  const eventfd = fakeDescriptor(9);
  await client.setIrqs({ index, start: 0, count: 1, action: 'trigger', data: 'eventfd' }, [eventfd]);
  eventfd.release();
  return { world, client };
}

describe('the device of the documentation', () => {
  it('copies memory that came with a file, and interrupts by MSI', async () => {
    const { world, client } = await connect(IrqIndex.MSI);
    const ram = world.files.share('ram', new DenseRamBlock(4));
    await client.map(0x10, 4, ram);
    ram.release();
    await world.server.memory.write(0x10ff0n, Uint8Array.of(1, 2, 3));

    expect(await copy(client, 0x10ff0n, 0x12fffn, 3n)).toBe(1);

    const copied = new Uint8Array(3);
    await world.server.memory.read(0x12fffn, copied);
    expect(copied).toEqual(Uint8Array.of(1, 2, 3));
    expect(world.eventfds.rung).toEqual([9]);
  });

  it('copies memory that came without one, and interrupts by INTA', async () => {
    const { world, client } = await connect(IrqIndex.INTX);
    const memory = new Uint8Array(4096);
    memory.set([1, 2, 3], 16);
    client.serve = ({ header, payload }) => {
      if (header.command === Command.DMA_READ) {
        const request = dmaReadRequest.decode(payload);
        if (!request.ok) return { errno: request.errno };
        const { address, count } = request.value;
        const data = memory.slice(Number(address), Number(address + count));
        return { payload: dmaReadReply.encode({ address, count, data }) };
      }
      const request = dmaWriteRequest.decode(payload);
      if (!request.ok) return { errno: request.errno };
      memory.set(request.value.data, Number(request.value.address));
      return { payload: dmaWriteReply.encode(request.value) };
    };
    await client.map(0, 1);

    expect(await copy(client, 16n, 100n, 3n)).toBe(1);

    expect(memory.subarray(100, 103)).toEqual(Uint8Array.of(1, 2, 3));
    expect(world.eventfds.rung).toEqual([9]);
  });

  it('says so when nothing is mapped', async () => {
    const { client } = await connect(IrqIndex.MSI);

    expect(await copy(client, 0n, 100n, 3n)).toBe(2);
  });
});
