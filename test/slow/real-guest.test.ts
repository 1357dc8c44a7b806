/** A device of ours is plugged into a Linux guest that is busy: the ledger must be what Linux programmed. @module */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { requesterId } from '../../src/iommu/index.ts';
import { Sink } from '../qemu/harness/sink.ts';
import { socketFolder } from '../qemu/harness/sockets.ts';
import { type DmaText, sentByQemu } from '../qemu/harness/tables.ts';
import { LinuxGuest } from './guest.ts';
import { findGuestFiles } from './guest-files.ts';
import { NetworkLoad } from './network-load.ts';

const files = findGuestFiles();
if (files === undefined) {
  console.log('tests with a Linux guest are skipped: no QEMU with a kernel; run tools/get-qemu.sh --kernel');
}

/** Every function behind the bridge on bus 1 goes by the requester ID of device 0 of bus 2. */
const BEHIND_BRIDGE = requesterId(2, 0, 0);

const BOOT_MILLISECONDS = 120_000;
const LOADED_BYTES = 2 ** 20;
const STOPS = 8;

/** Waits until `condition` holds; rejects, with what the guest printed, when it takes too long. */
async function until(guest: LinuxGuest, what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + BOOT_MILLISECONDS;
  while (!condition()) {
    if (Date.now() > deadline || !guest.qemu.running) {
      throw new Error(`${what} did not happen. The guest printed:\n${guest.console}\n${guest.qemu.stderr}`);
    }
    await sleep(20);
  }
}

interface Stopped {
  readonly ledger: readonly DmaText[];
  readonly tables: readonly DmaText[];
}

/** Stops the guest wherever it is and looks at both sides. */
async function stopped(guest: LinuxGuest, sink: Sink): Promise<Stopped> {
  await guest.qemu.qmp.execute('stop');
  return { ledger: sink.ledger, tables: sentByQemu(guest.memory, await guest.registers(), BEHIND_BRIDGE) };
}

function same({ ledger, tables }: Stopped): boolean {
  return ledger.length === tables.length && ledger.every((mapping, i) => mapping === tables[i]);
}

/** Mappings that one side has and the other has not. */
function differences({ ledger, tables }: Stopped): DmaText[] {
  const [held, wanted] = [new Set(ledger), new Set(tables)];
  return [...ledger.filter((it) => !wanted.has(it)), ...tables.filter((it) => !held.has(it))];
}

/** Differences of one stop that the next one has, too. */
function lasting(stops: readonly Stopped[]): DmaText[] {
  return stops.slice(1).flatMap((stop, i) => {
    const before = new Set(differences(stops[i] ?? stop));
    return differences(stop).filter((it) => before.has(it));
  });
}

describe.skipIf(files === undefined)('a Linux guest with a busy e1000 behind the bridge', () => {
  /**
   * With caching mode Linux invalidates at each unmap ("IOMMU batching disallowed due to virtualization"), so lazy
   * flushing is no matter here. Between a write to its tables and the invalidation that tells of it the two sides may
   * differ, and the processor can be stopped just there: such a difference must be gone at the next stop.
   */
  test('hotplug under load: ledger and tables agree, under load and at rest', async () => {
    const load = await NetworkLoad.start();
    onTestFinished(() => load.close());
    const guest = await LinuxGuest.boot(files ?? '', socketFolder(), load.port);
    onTestFinished(() => guest.kill());
    const sink = await Sink.serve();
    await until(guest, 'network load', () => load.received > LOADED_BYTES);

    await guest.qemu.qmp.execute('device_add', {
      driver: 'vfio-user-pci',
      id: 'viommu',
      bus: 'br1',
      addr: '2',
      socket: { type: 'unix', path: sink.socket },
    });
    const replayed = sink.ledger.length;
    const loadAtPlug = load.received;
    await until(guest, 'more network load', () => load.received > loadAtPlug + LOADED_BYTES);
    const underLoad: Stopped[] = [];
    for (let i = 0; i < STOPS; i++) {
      await sleep(50);
      underLoad.push(await stopped(guest, sink));
      await guest.qemu.qmp.execute('cont');
    }
    const counts = sink.counts;
    load.close();
    await sleep(2000);
    const atRest = await stopped(guest, sink);

    // The e1000 keeps a buffer mapped for each of its 256 receive descriptors.
    expect(replayed).toBeGreaterThan(256);
    // Each packet is mapped and unmapped, and the device is told of both.
    expect(counts.maps).toBeGreaterThan(replayed + 500);
    expect(counts.unmaps).toBeGreaterThan(500);
    expect(counts.refused).toBe(0);
    expect(underLoad.filter(same).length).toBeGreaterThan(0);
    expect(Math.max(...underLoad.map((stop) => differences(stop).length))).toBeLessThan(8);
    expect(lasting(underLoad)).toEqual([]);
    expect(atRest.ledger.length).toBeGreaterThan(256);
    expect(atRest.ledger).toEqual(atRest.tables);
    expect(guest.console).toContain('IOMMU batching disallowed due to virtualization');
  }, 240_000);
});
