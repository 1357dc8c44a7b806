/**
 * Where QEMU 11.1.3's AMD-Vi unit does not do what the specification (48882) says: these tests state what it does, so
 * that a QEMU that does better is noticed.
 *
 * @module
 */
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { RAM_UNTRANSLATED } from '../../src/qemu/index.ts';
import { AMDVI_SLOT, pluggedAndTranslated, QemuAmdviMachine } from './harness/amdvi-machine.ts';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { Sink } from './harness/sink.ts';

const { requester } = AMDVI_SLOT;
const ASSERTION = 'amdvi_notify_iommu: Assertion';
const MAPPED = ['1000+1>40 rw', '1001+1>41 rw', '1002+1>42 rw', '1003+1>43 rw'];

describeQemu('R6: the table of four pages is taken away', () => {
  test.each([
    ['one of its pages', 0x1000, 0x1001],
    ['all that it covered', 0x1000, 0x1200],
  ])('%s is invalidated: QEMU ends on an assertion', async (_what, start, end) => {
    const { machine, domain } = await pluggedAndTranslated();
    const level2 = domain.tables?.tableAt(0x1000, 2) ?? Number.NaN;
    machine.driver.writeEntry(level2, 8, 0, 0);

    const invalidated = Promise.resolve(machine.driver.invalidatePages(domain, { start, end }));

    await expect(invalidated).rejects.toThrow('QEMU is gone');
    await machine.qemu.exited;
    expect(machine.qemu.stderr).toContain(ASSERTION);
  });
});

describeQemu('R7: a device table entry is switched to translation', () => {
  test('44 unmaps name what was never mapped, beside the unmaps of RAM and the four maps', async () => {
    const { told } = await pluggedAndTranslated();

    const unmaps = told.filter((line) => line.startsWith('unmap'));

    expect(unmaps).toHaveLength(6 + 44);
    expect(told.filter((line) => line.startsWith('map'))).toHaveLength(4);
  });
});

describeQemu('R14: a device is detached and attached to the same domain again', () => {
  test('in between it can reach all RAM, though its entry blocks it', async () => {
    const { machine, domain, sink } = await pluggedAndTranslated();
    await machine.driver.detachDevice(requester);
    const between = sink.sharedLedger;

    await machine.driver.attachDevice(requester, domain);

    expect(between).toEqual(RAM_UNTRANSLATED);
    expect(sink.ledger).toEqual(MAPPED);
  });
});

describeQemu('a device is plugged under an entry that translates', () => {
  test('it reaches all RAM until the entry is invalidated', async () => {
    const machine = await QemuAmdviMachine.start();
    const domain = machine.driver.createDomain({ mode: 3 });
    await machine.driver.map(domain, 0x1000, 4, 0x40, Access.ReadWrite, { leafPages: 1 });
    await machine.driver.attachDevice(requester, domain);
    const sink = await Sink.serve();
    await machine.plug(sink.socket);
    const plugged = sink.sharedLedger;

    await machine.driver.invalidateDeviceTableEntry(requester);

    expect(plugged).toEqual(RAM_UNTRANSLATED);
    expect(sink.ledger).toEqual(MAPPED);
  });
});

describeQemu('an entry is rewritten to name another domain, and invalidated', () => {
  test('the device keeps the old mappings until pages of the new domain are invalidated', async () => {
    const { machine, sink } = await pluggedAndTranslated();
    const other = machine.driver.createDomain({ mode: 3 });
    await machine.driver.map(other, 0x1000, 2, 0x40, Access.ReadWrite, { leafPages: 1 });
    await machine.driver.switchDomain(requester, other);
    const switched = sink.ledger;

    await machine.driver.invalidatePages(other, 'whole');

    expect(switched).toEqual(MAPPED);
    expect(sink.ledger).toEqual(MAPPED.slice(0, 2));
  });
});

describeQemu('a leaf is rewritten and its pages are invalidated', () => {
  test.each([
    ['other access', Access.Read, undefined],
    ['another target', Access.ReadWrite, 0x80],
  ])(
    '%s: the old mapping stays, for the new one is sent without removing it',
    async (_what, access, target) => {
      const { machine, domain, sink } = await pluggedAndTranslated();

      await machine.driver.remap(domain, 0x1000, 1, access, target);

      expect(sink.take()).toEqual(['map 1000+1 EEXIST']);
      expect(sink.ledger).toEqual(MAPPED);
      await eventually(() => machine.qemu.stderr).toContain('Found conflicting translation');
    },
  );
});

describeQemu('a 2 MiB leaf becomes a table with one page', () => {
  test('the old leaf stays until the whole domain is invalidated, and the page comes with the next invalidation', async () => {
    const { machine, domain, sink } = await pluggedAndTranslated();
    const { driver } = machine;
    await driver.map(domain, 0x400, 512, 0x400, Access.ReadWrite, { leafPages: 512 });
    const table = driver.allocatePage();
    driver.writeEntry(table, 5, (0x900 << 12) | 1, 0x7000_0000);
    driver.writeEntry(domain.tables?.tableAt(0x400, 2) ?? Number.NaN, 2, (table << 12) | 0x201, 0x6000_0000);
    sink.take();

    await driver.invalidatePages(domain, { start: 0x405, end: 0x406 });
    await driver.invalidatePages(domain, 'whole');
    await driver.invalidatePages(domain, 'whole');

    expect(sink.take()).toEqual(['map 405+1 EEXIST', 'unmap 400+200', 'map 405+1']);
  });
});

describeQemu('a 1 GiB leaf over the interrupt range', () => {
  test('is not mapped at all', async () => {
    const { machine, domain, sink } = await pluggedAndTranslated();

    await machine.driver.map(domain, 0xc_0000, 0x4_0000, 0x10_0000, Access.ReadWrite, {
      leafPages: 0x4_0000,
    });

    expect(sink.take()).toEqual([]);
    await eventually(() => machine.qemu.stderr).toContain(
      'iommu has granularity incompatible with target AS',
    );
  });
});

describeQemu('the unit is turned off', () => {
  /** While IommuEn of the control register is clear, requests pass as they are. */
  test('nothing happens', async () => {
    const { machine, sink } = await pluggedAndTranslated();

    await machine.driver.setTranslation(false);

    expect(sink.take()).toEqual([]);
    expect(sink.ledger).toEqual(MAPPED);
  });
});

describeQemu('a device whose entry blocks it', () => {
  /** 2.2.2.1: V and TV set, Mode 0, IR and IW clear: neither reads nor writes are permitted. */
  test('reaches all RAM', async () => {
    const machine = await QemuAmdviMachine.start();
    const sink = await Sink.serve();
    await machine.plug(sink.socket);

    await machine.driver.invalidateDeviceTableEntry(requester);

    expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
  });
});
