/** A device of ours behind QEMU's AMD-Vi unit, where QEMU does what the specification says. @module */
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { AMDVI_SLOT, pluggedAndTranslated, QemuAmdviMachine } from './harness/amdvi-machine.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { Sink } from './harness/sink.ts';

describeQemu('AMD-Vi', () => {
  test('pages that are mapped and unmapped one by one arrive', async () => {
    const { machine, domain, sink } = await pluggedAndTranslated();
    await machine.driver.map(domain, 0x2000, 3, 0x80, Access.Read, { leafPages: 1 });

    await machine.driver.unmap(domain, 0x1001, 1);

    expect(sink.take()).toEqual(['map 2000+1', 'map 2001+1', 'map 2002+1', 'unmap 1001+1']);
  });

  test('a leaf of 2 MiB comes and goes as one', async () => {
    const { machine, domain, sink } = await pluggedAndTranslated();
    await machine.driver.map(domain, 0x400, 512, 0x400, Access.ReadWrite, { leafPages: 512 });

    await machine.driver.unmap(domain, 0x400, 512);

    expect(sink.take()).toEqual(['map 400+200', 'unmap 400+200']);
  });

  test('a device that is plugged where one was before gets what is mapped', async () => {
    const { machine, sink } = await pluggedAndTranslated();
    await machine.unplug();
    const second = await Sink.serve();

    await machine.plug(second.socket);

    expect(sink.goodbyes).toHaveLength(1);
    expect(second.ledger).toEqual(['1000+1>40 rw', '1001+1>41 rw', '1002+1>42 rw', '1003+1>43 rw']);
  });

  test('the registers make a dump', async () => {
    const machine = await QemuAmdviMachine.start();

    const { driver, registers } = machine;

    expect(driver.capability).toMatchObject({ NpCache: true, HATS: 2 });
    expect(await registers.dump()).toHaveLength(0x2028);
    expect(driver.domainOf(AMDVI_SLOT.requester)).toBeUndefined();
  });
});
