/**
 * A server that takes exact unmaps only, as libvfio-user does, behind our proxy and QEMU's vIOMMU. Without the proxy it
 * loses mappings (R2); with it nothing is lost and nothing stays.
 *
 * @module
 */
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { type Change, changesIn } from './harness/changes.ts';
import { letQemuLook, MIB2, splitLeaf } from './harness/edits.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH, RAM_UNTRANSLATED } from '../../src/qemu/index.ts';
import { ProxyInFront } from './harness/proxied.ts';
import { SLOTS } from './harness/qemu-machine.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain, MODES } from './harness/world.ts';

async function arranged(mode: 'legacy' | 'scalable' = 'legacy', options: { readonly merge?: boolean } = {}) {
  const { machine, domain } = await machineWithDomain({ mode });
  const sink = await Sink.serve({ unmap: 'exact' });
  return { machine, domain, sink, proxy: await ProxyInFront.of(sink, options) };
}

describeQemu.each(MODES)('a strict server behind the proxy, after each change (%s)', (mode) => {
  async function plugged({ before, switches }: Pick<Change, 'before' | 'switches'>) {
    const all = await arranged(mode);
    await before?.(all.machine, all.domain);
    await all.machine.plug(all.proxy.socket);
    if (switches) await letQemuLook(all.machine, mode);
    return all;
  }

  test.each(changesIn(mode))('$name: the ledger is the tables, nothing was refused', async (it) => {
    const { machine, domain, sink, proxy } = await plugged(it);

    await it.change(machine, domain);

    expect(sink.ledger).toHaveLength(it.mappings);
    expect(sink.ledger).toEqual(await machine.expected());
    expect({ server: sink.counts.refused, vmm: proxy.refused }).toEqual({ server: 0, vmm: [] });
  });

  test('R2: translation is turned off with a 2 MiB mapping live: it goes, and the device sees RAM', async () => {
    const { machine, sink, proxy } = await plugged({
      before: ({ driver }, domain) =>
        driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 }),
    });
    sink.take();

    await machine.driver.setTranslation(false);

    expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
    expect(sink.take().filter((line) => line.startsWith('unmap'))).toEqual(['unmap 400+200']);
    expect(proxy.refused).toEqual([]);
  });

  test('R2: the same without the proxy: the mapping stays, and most of RAM cannot be mapped', async () => {
    const { machine, domain } = await machineWithDomain({ mode });
    const sink = await Sink.serve({ unmap: 'exact' });
    await machine.driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
    await machine.plug(sink.socket);
    sink.take();

    await machine.driver.setTranslation(false);

    const told = sink.take();
    expect(told).toContain('unmap 0+80000 ENOENT');
    expect(told.some((line) => line.startsWith('map 100+7ff00 E'))).toBe(true);
    expect(sink.sharedLedger).toEqual(['0+c0>0 rw', '400+200>80400 rw', '100000+80000>80000 rw']);
  });
});

describeQemu('a strict server behind the proxy', () => {
  /** VFIO type1 refuses an unmap that cuts a mapping in two, and so does the proxy: the server hears nothing of it. */
  test('R3: a 2 MiB leaf becomes a table: what QEMU asks for is refused, and the server keeps what it had', async () => {
    const { machine, domain, sink, proxy } = await arranged();
    await machine.driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
    await machine.plug(proxy.socket);

    await splitLeaf(machine, domain);

    expect(proxy.refused).toEqual(['unmap 405+1 EINVAL', 'map 405+1 EEXIST']);
    expect(sink.take()).toEqual(['map 400+200']);
    expect(sink.ledger).toEqual(['400+200>80400 rw']);
  });

  test('60,000 mappings exist at hotplug: all arrive', async () => {
    const { machine, domain, sink, proxy } = await arranged();
    await machine.driver.map(domain, 0x10_0000, 60_000, HIGH, Access.ReadWrite, { leafPages: 1 });

    await machine.plug(proxy.socket);

    expect(sink.counts).toEqual({ maps: 60_000, unmaps: 0, refused: 0 });
    expect(sink.ledger).toEqual(await machine.expected());
  });

  test('thousands of mappings go by one unmap of QEMU that covers everything', async () => {
    const { machine, domain, sink, proxy } = await arranged();
    await machine.driver.map(domain, 0x10_0000, 3000, HIGH, Access.ReadWrite, { leafPages: 1 });
    await machine.plug(proxy.socket);
    sink.take();

    await machine.driver.detachDevice(SLOTS.express.requester);

    expect(sink.ledger).toEqual([]);
    expect(sink.counts).toEqual({ maps: 0, unmaps: 3000, refused: 0 });
    expect(proxy.refused).toEqual([]);
  });

  test('merging: 4,096 neighbours are few mappings of the server, and unmapping one leaves the others', async () => {
    const { machine, domain, sink, proxy } = await arranged('legacy', { merge: true });
    await machine.driver.map(domain, 0x10_0000, 4096, HIGH, Access.ReadWrite, { leafPages: 1 });
    await machine.plug(proxy.socket);
    const merged = sink.ledger.length;

    await machine.driver.unmap(domain, 0x10_0800, 1);

    expect(merged).toBeLessThan(400);
    expect(sink.counts.refused).toBe(0);
    expect(pagesOf(sink.ledger)).toEqual(pagesOf(await machine.expected()));
    expect(pagesOf(sink.ledger)).toHaveLength(4095);
  });
});

/** Page `i` after a page, in hexadecimal. */
function at(first: string, i: number): string {
  return (Number.parseInt(first, 16) + i).toString(16);
}

/** Every page of a ledger on a line of its own. */
function pagesOf(ledger: readonly string[]): string[] {
  return ledger.flatMap((mapping) => {
    const [, iova = '', pages = '', target = '', access = ''] =
      /^(\w+)\+(\w+)>(\w+) (\w+)$/.exec(mapping) ?? [];
    return Array.from(
      { length: Number.parseInt(pages, 16) },
      (_, i) => `${at(iova, i)}>${at(target, i)} ${access}`,
    );
  });
}
