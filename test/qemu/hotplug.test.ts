/** A device of ours is plugged into a running QEMU machine whose guest mapped things long before: the case of 2015. @module */
import { expect, test } from 'vitest';
import type { GuestDomain } from '../../src/guests/index.ts';
import { Access } from '../../src/memory/index.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH } from '../../src/qemu/index.ts';
import { type QemuMachine, SLOTS } from './harness/qemu-machine.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain, MODES } from './harness/world.ts';

/** First page of what is mapped: the range goes over 4 GiB. */
const IOVA = 0xf_f000;
const RUN = 1000;
const ACCESSES = [Access.ReadWrite, Access.Read, Access.Write] as const;

/** Maps `pages` single pages in runs of 1,000 with a gap after each; access and place differ from run to run. */
async function mapPages(machine: QemuMachine, domain: GuestDomain, pages: number): Promise<void> {
  for (let done = 0, run = 0; done < pages; done += RUN, run++) {
    const length = Math.min(RUN, pages - done);
    const target = HIGH + ((run * 0x7531) % 0x7_0000);
    const access = ACCESSES[run % ACCESSES.length] ?? Access.ReadWrite;
    await machine.driver.map(domain, IOVA + run * (RUN + 1), length, target, access, { leafPages: 1 });
  }
}

describeQemu.each(MODES)('hotplug onto mappings that exist (%s)', (mode) => {
  test.each([1, 512, 4096, 60_000])(
    '%i mappings: as many maps, no unmap, and the ledger is the tables',
    async (n) => {
      const { machine, domain } = await machineWithDomain({ mode });
      const sink = await Sink.serve();
      await mapPages(machine, domain, n);

      await machine.plug(sink.socket);

      expect(sink.counts).toEqual({ maps: n, unmaps: 0, refused: 0 });
      expect(sink.ledger).toHaveLength(n);
      expect(sink.ledger).toEqual(await machine.expected());
    },
  );

  test('an empty domain: nothing is sent', async () => {
    const { machine } = await machineWithDomain({ mode });
    const sink = await Sink.serve();

    await machine.plug(sink.socket);

    expect(sink.server.connected).toBe(true);
    expect(sink.take()).toEqual([]);
  });

  test('leaves of 4 KiB, 2 MiB and 1 GiB arrive at their sizes', async () => {
    const { machine, domain } = await machineWithDomain({ mode });
    const sink = await Sink.serve();
    await machine.driver.map(domain, 0x1ff, 1, 0x1ff, Access.Read);
    await machine.driver.map(domain, 0x200, 0x200, 0x200, Access.ReadWrite, { leafPages: 0x200 });
    await machine.driver.map(domain, 0x8_0000, 0x4_0000, HIGH, Access.ReadWrite, { leafPages: 0x4_0000 });

    await machine.plug(sink.socket);

    expect(sink.ledger).toEqual(['1ff+1>1ff r', '200+200>200 rw', '80000+40000>80000 rw']);
    expect(sink.ledger).toEqual(await machine.expected());
  });
});

describeQemu('hotplug behind a PCIe-to-PCI bridge', () => {
  test('the device gets what is mapped for the requester that it shares with its neighbours', async () => {
    const { machine } = await machineWithDomain();
    const { requester } = SLOTS.conventional;
    const shared = machine.driver.createDomain({ levels: 4 });
    await machine.driver.attachDevice(requester, shared);
    await mapPages(machine, shared, 350);
    const sink = await Sink.serve();

    await machine.plug(sink.socket, { slot: 'conventional' });

    expect(sink.counts).toEqual({ maps: 350, unmaps: 0, refused: 0 });
    expect(sink.ledger).toEqual(await machine.expected(requester));
  });
});

describeQemu('hotplug under tables of three levels', () => {
  test('the ledger is the tables', async () => {
    const { machine, domain } = await machineWithDomain({ awBits: 39 });
    await mapPages(machine, domain, 2500);
    const sink = await Sink.serve();

    await machine.plug(sink.socket);

    expect(sink.counts).toEqual({ maps: 2500, unmaps: 0, refused: 0 });
    expect(sink.ledger).toEqual(await machine.expected());
  });
});
