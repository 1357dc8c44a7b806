/**
 * Our machine with our client, in a process of its own.
 *
 *     node viommu-vmm.js
 *
 * Answers as vmm.ts says.
 *
 * @module
 */
import { PageAllocator, VtdGuestDriver } from '../../src/guests/index.ts';
import { connect, linuxPlatform, MemfdRamBlock } from '../../src/linux/index.ts';
import { guestMemory, Machine, type PluggedDevice } from '../../src/machine/index.ts';
import { VtdIommu } from '../../src/models/vtd/index.ts';
import { requesterId } from '../../src/iommu/index.ts';
import { type Channel, VfioUserClient } from '../../src/vfio-user/index.ts';
import { BenchGuest } from './guest.ts';
import { accessOf, FIRST_IOVA, RAM_PAGES, TABLE_RAM, targetOf } from './layout.ts';
import { median, nanoseconds, serveVmm, type Vmm, type VmmAnswer } from './vmm.ts';

const DEVICE = 1;

class ViommuVmm implements Vmm {
  readonly #ram: MemfdRamBlock;
  readonly #machine: Machine;
  readonly #guest: BenchGuest;
  #plugged: { readonly device: PluggedDevice; readonly client: VfioUserClient } | undefined;

  private constructor(ram: MemfdRamBlock, machine: Machine, guest: BenchGuest) {
    this.#ram = ram;
    this.#machine = machine;
    this.#guest = guest;
  }

  static async start(): Promise<ViommuVmm> {
    const { mode, why } = linuxPlatform();
    if (mode === 'messages') throw new Error(`the client passes no descriptors: ${why}`);
    const ram = MemfdRamBlock.create('guest RAM', RAM_PAGES);
    const { memory } = guestMemory([{ start: 0, block: ram }]);
    const iommu = new VtdIommu({ memory });
    const driver = new VtdGuestDriver({
      memory,
      registers: iommu,
      allocator: new PageAllocator([TABLE_RAM]),
      settled: () => iommu.settled(),
    });
    await driver.boot({ mode: 'legacy' });
    const guest = await BenchGuest.of(driver, requesterId(0, DEVICE, 0));
    return new ViommuVmm(ram, new Machine({ memory, iommu }), guest);
  }

  map(count: number): Promise<void> {
    return this.#guest.map(count);
  }

  async plug(socket: string, messages: boolean): Promise<number> {
    const start = nanoseconds();
    const client = await connectTo(socket, messages);
    const place = { bus: this.#machine.pci, device: DEVICE, name: 'device' };
    const device = await this.#machine.plug(place, client);
    const elapsed = nanoseconds() - start;
    this.#plugged = { device, client };
    return elapsed;
  }

  async sync(count: number): Promise<Pick<VmmAnswer, 'ns'>> {
    return { ns: median(await this.#guest.sync(count)) };
  }

  async unplug(): Promise<void> {
    if (this.#plugged === undefined) return;
    const { device, client } = this.#plugged;
    this.#plugged = undefined;
    await this.#machine.unplug(device);
    await client.close();
  }

  async pipeline(socket: string, count: number, messages: boolean): Promise<number> {
    const client = await connectTo(socket, messages);
    const start = nanoseconds();
    for (let i = 0; i < count; i++) {
      const target = targetOf(i);
      const mapping = { iova: FIRST_IOVA + i, pages: 1, target, access: accessOf(i) };
      client.map(mapping, { block: this.#ram, page: target });
    }
    await client.barrier();
    const elapsed = nanoseconds() - start;
    await client.close();
    return elapsed;
  }
}

function connectTo(socket: string, messages: boolean): Promise<VfioUserClient> {
  const open = async (): Promise<Channel> => {
    const channel = await connect(socket);
    return messages ? withoutDescriptors(channel) : channel;
  };
  return VfioUserClient.connect({ open, name: 'server' });
}

/** The same stream to a client that has no koffi. */
function withoutDescriptors(channel: Channel): Channel {
  return {
    passesDescriptors: false,
    get queuedBytes() {
      return channel.queuedBytes;
    },
    start: (listener) => channel.start(listener),
    send: (bytes) => channel.send(bytes),
    pause: () => channel.pause(),
    resume: () => channel.resume(),
    close: (discard) => channel.close(discard),
  };
}

await serveVmm(await ViommuVmm.start());
