import { describe, expect, it } from 'vitest';
import { VtdGuestDriver } from '../../src/guests/vtd-driver/driver.ts';
import type { RegisterAccess } from '../../src/guests/driver/registers.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { done } from './driver-leaves.ts';
import { DriverMachine, type MachineOptions, NIC } from './vtd-driver-machine.ts';
import { refusalCode } from './driver-refusal.ts';
import { SlowHost } from './slow-host.ts';

function booted(mode: 'legacy' | 'scalable', options: MachineOptions = {}): DriverMachine {
  const machine = new DriverMachine(options);
  done(machine.driver.boot({ mode }));
  done(machine.driver.attachDevice(NIC, machine.driver.createDomain({ levels: 4 })));
  return machine;
}

/** The same with a slow host behind the requester. */
function bootedWithSlowHost(options: MachineOptions = {}): DriverMachine & { readonly host: SlowHost } {
  const machine = booted('legacy', options);
  const host = new SlowHost();
  machine.unit.requesterSpace(NIC).region.registerNotifierReplay(host, 4096n, false);
  return Object.assign(machine, { host });
}

describe('the queue', () => {
  it.each(['legacy', 'scalable'] as const)('wraps around in %s mode', (mode) => {
    const machine = booted(mode);
    const { unit, driver } = machine;

    for (let page = 0; page < 300; page++) done(driver.map(NIC, page, 1, page, Access.Read));
    for (let page = 0; page < 300; page += 2) done(driver.unmap(NIC, page, 1));

    expect(machine.leaves(NIC)).toHaveLength(150);
    expect(unit.readRegister(spec.IQH_REG, 8)).toBe(unit.readRegister(spec.IQT_REG, 8));
    expect(Number(unit.readRegister(spec.FSTS_REG, 4)) & spec.FSTS_IQE).toBe(0);
  });

  it('has 256 descriptors of 256 bits in scalable mode, as Linux makes it', () => {
    const { unit } = booted('scalable');

    const iqa = Number(unit.readRegister(spec.IQA_REG, 8) & 0xfffn);

    expect(iqa & spec.IQA_DW).toBe(spec.IQA_DW);
    expect(iqa & spec.IQA_QS).toBe(1);
  });
});

describe('a host that confirms late', () => {
  it('makes an unmap wait, and its table with it', async () => {
    const { driver, allocator, host } = bootedWithSlowHost();
    const mapped = driver.map(NIC, 0, 512, 1, Access.Read);
    const before = allocator.available;

    const unmapped = driver.unmap(NIC, 0, 512);
    await Promise.resolve();
    const early = allocator.available;
    host.confirm();
    await Promise.all([mapped, unmapped]);

    expect(early).toBe(before);
    expect(allocator.available).toBe(before + 1);
  });

  it('gets more than fits the queue, in order, without anybody waiting in between', async () => {
    const machine = bootedWithSlowHost();
    const { driver, host } = machine;
    const pending: Promise<void>[] = [];

    for (let page = 0; page < 400; page++) {
      pending.push(Promise.resolve(driver.map(NIC, page, 1, page, Access.Read)));
    }
    pending.push(Promise.resolve(driver.unmap(NIC, 0, 1)));
    host.confirm();
    await Promise.all(pending);

    expect(machine.leaves(NIC)).toHaveLength(399);
    const maps = Array.from({ length: 400 }, (_, page) => `map ${page}`);
    expect(host.told.toSorted()).toEqual([...maps, 'unmap 0'].toSorted());
  });

  it('makes each step of a switch wait for the one before', async () => {
    const { driver, host, ear } = bootedWithSlowHost();
    const mapped = driver.map(NIC, 0, 1, 1, Access.Read);
    const other = driver.createDomain({ levels: 3 });
    ear.take();

    const switched = driver.switchDomain(NIC, other);
    const early = ear.take();
    host.confirm();
    await Promise.all([mapped, switched]);

    expect(early).toEqual(['context domain 2 source 200', 'iotlb domain 2']);
    expect(ear.take()).toEqual(['context domain 0 source 200', 'iotlb domain 3']);
    expect(host.told).toEqual(['map 0', 'unmap 0']);
    expect(driver.domainOf(NIC)).toBe(other);
  });

  it('makes turning translation off wait', async () => {
    const { driver, host, unit } = bootedWithSlowHost();

    const off = driver.setTranslation(false);
    const early = Number(unit.readRegister(spec.GSTS_REG, 4)) & spec.GSTS_TES;
    host.confirm();
    await off;

    expect(early).not.toBe(0);
    expect(Number(unit.readRegister(spec.GSTS_REG, 4)) & spec.GSTS_TES).toBe(0);
  });

  it('needs the settled option', async () => {
    const { memory, unit, allocator, host } = bootedWithSlowHost();
    const driver = new VtdGuestDriver({ memory, registers: unit, allocator });
    driver.attach();

    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('stuck');
    expect(host.told).toEqual(['map 0']);
  });
});

describe('a unit that does not answer', () => {
  it('is reported when a wait never completes', async () => {
    const { unit, memory, allocator } = booted('legacy');
    const deaf: RegisterAccess = {
      readRegister: (offset, bytes) => unit.readRegister(offset, bytes),
      writeRegister: () => undefined,
    };
    const driver = new VtdGuestDriver({ memory, registers: deaf, allocator, settled: () => undefined });
    driver.attach();

    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('stuck');
  });

  it('is reported when the queue stays full', async () => {
    const { unit, memory, allocator } = booted('legacy');
    const deaf: RegisterAccess = {
      readRegister: (offset, bytes) => unit.readRegister(offset, bytes),
      writeRegister: () => undefined,
    };
    const driver = new VtdGuestDriver({ memory, registers: deaf, allocator, settled: () => undefined });
    driver.attach();
    for (let i = 0; i < 254; i++) driver.submit([spec.TYPE_INV_WAIT_DSC, 0, 0, 0]);

    expect(await refusalCode(() => driver.invalidateIotlb('global'))).toBe('stuck');
  });

  it('is reported when a command is not acknowledged', async () => {
    const { unit, memory, allocator } = booted('legacy');
    const deaf: RegisterAccess = {
      readRegister: (offset, bytes) => unit.readRegister(offset, bytes),
      writeRegister: () => undefined,
    };
    const driver = new VtdGuestDriver({ memory, registers: deaf, allocator });

    expect(await refusalCode(() => driver.setTranslation(false))).toBe('stuck');
  });
});

describe('a descriptor that the unit refuses', () => {
  it('is reported at the next wait', async () => {
    const { driver } = booted('legacy');

    driver.submit([0xf, 0, 0, 0]);

    expect(await refusalCode(() => driver.wait())).toBe('queue-error');
  });

  it('can be replaced, and the unit goes on behind it', async () => {
    const machine = booted('legacy');
    const { driver, unit } = machine;
    driver.submit([0xf, 0, 0, 0]);
    await refusalCode(() => driver.map(NIC, 1, 1, 1, Access.Read));

    driver.recover();
    done(driver.map(NIC, 2, 1, 2, Access.Read));

    expect(unit.readRegister(spec.IQH_REG, 8)).toBe(unit.readRegister(spec.IQT_REG, 8));
    expect(machine.leaves(NIC)).toEqual(['1+1>1 r', '2+1>2 r']);
  });
});
