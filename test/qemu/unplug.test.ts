/** A device of ours leaves a running QEMU machine. @module */
import { expect, test } from 'vitest';
import { probeDevice } from '../../src/devices/index.ts';
import { Access } from '../../src/memory/index.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH } from '../../src/qemu/index.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain, MODES } from './harness/world.ts';

describeQemu.each(MODES)('unplug (%s)', (mode) => {
  test('takes every mapping along, and the device can be plugged again', async () => {
    const { machine, domain } = await machineWithDomain({ mode });
    const sink = await Sink.serve({ device: probeDevice() });
    await machine.driver.map(domain, 0x400, 300, HIGH, Access.ReadWrite, { leafPages: 1 });
    await machine.plug(sink.socket);
    const plugged = sink.ledger.length;

    await machine.unplug();
    const unplugged = { connected: sink.server.connected, ledger: sink.ledger };
    await machine.plug(sink.socket, { id: 'again' });

    expect(plugged).toBe(300);
    expect(unplugged).toEqual({ connected: false, ledger: [] });
    expect(sink.ledger).toEqual(await machine.expected());
  });
});

describeQemu('R22: unplug of a function with MSI-X', () => {
  test('QEMU aborts', async () => {
    const { machine } = await machineWithDomain();
    const { msi: _, ...probe } = probeDevice();
    const msix = { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 };
    const sink = await Sink.serve({ device: { ...probe, msix } });
    await machine.plug(sink.socket);

    await expect(machine.unplug()).rejects.toThrow('memory_region_del_subregion');
  });
});
