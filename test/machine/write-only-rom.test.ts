import { describe, expect, test } from 'vitest';
import { Access, dmaWrite, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { mappingText, RecordingHost } from '../scenarios/recording-host.ts';
import { HIGH, NIC, ScenarioMachine } from '../scenarios/scenario-machine.ts';

const ROM = 0x9_0000;

/** Two write-only pages, the second of which leads to ROM. */
async function plugged() {
  const machine = new ScenarioMachine();
  machine.guest.system.add(new RamRegion('ROM', new SparseRamBlock(0x10), { readonly: true }), ROM);
  const domain = machine.nicDomain();
  await machine.driver.map(domain, 0x400, 1, HIGH, Access.Write);
  await machine.driver.map(domain, 0x401, 1, ROM, Access.Write);
  const host = new RecordingHost({ strictness: 'vfio-user' });
  const device = await machine.machine.plug(machine.nicPlace, host);
  return { machine, domain, host, device };
}

describe('a write-only leaf that leads to ROM allows nothing', () => {
  test('and no host is told of it', async () => {
    const { host, device } = await plugged();

    expect(host.held).toEqual(['400+1>100000 w']);
    expect(device.report.replayed).toBe(1);
  });

  test('and the container does not count it among what the host holds', async () => {
    const { host, device } = await plugged();

    expect([...device.container.mappings()].map(mappingText)).toEqual(host.held);
  });

  test('and a write of the device is refused', async () => {
    const { machine } = await plugged();

    const { failure } = dmaWrite(machine.iommu.addressSpace(NIC), 0x40_1000n, new Uint8Array([1]));

    expect(failure?.kind).toBe('read-only');
  });

  test('and no unmap is sent for it', async () => {
    const { machine, domain, host } = await plugged();
    host.take();

    await machine.driver.unmap(domain, 0x400, 2);

    expect(host.take()).toEqual(['unmap 400+1']);
    expect(host.refusals).toEqual([]);
  });
});
