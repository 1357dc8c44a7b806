import { describe, expect, it } from 'vitest';
import { AmdviGuestDriver } from '../../src/guests/amdvi-driver/driver.ts';
import type { RegisterAccess } from '../../src/guests/driver/registers.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/amdvi/index.ts';
import {
  AmdviDriverMachine,
  DEVICE_TABLE_PAGES as deviceTablePages,
  type MachineOptions,
  NIC,
} from './amdvi-driver-machine.ts';
import { done } from './driver-leaves.ts';
import { refusalCode } from './driver-refusal.ts';
import { SlowHost } from './slow-host.ts';

function booted(options: MachineOptions = {}): AmdviDriverMachine {
  const machine = new AmdviDriverMachine(options);
  done(machine.driver.boot({ deviceTablePages }));
  done(machine.driver.attachDevice(NIC, machine.driver.createDomain({ mode: 4 })));
  return machine;
}

/** The same with a slow host behind the requester. */
function bootedWithSlowHost(): AmdviDriverMachine & { readonly host: SlowHost } {
  const machine = booted();
  const host = new SlowHost();
  machine.unit.requesterSpace(NIC).region.registerNotifierReplay(host, 4096n, false);
  return Object.assign(machine, { host });
}

/** Registers of a unit that hears nothing of what is written. */
const deaf = (unit: RegisterAccess): RegisterAccess => ({
  readRegister: (offset, bytes) => unit.readRegister(offset, bytes),
  writeRegister: () => undefined,
});

/** A command that no unit knows. */
const UNKNOWN = [0, 0xf000_0000, 0, 0];

describe('the command buffer', () => {
  it('wraps around', () => {
    const machine = booted();
    const { unit, driver } = machine;

    for (let page = 0; page < 300; page++) done(driver.map(NIC, page, 1, page, Access.Read));
    for (let page = 0; page < 300; page += 2) done(driver.unmap(NIC, page, 1));

    expect(machine.leaves(NIC)).toHaveLength(150);
    expect(unit.readRegister(spec.COMMAND_BUFFER_HEAD, 8)).toBe(
      unit.readRegister(spec.COMMAND_BUFFER_TAIL, 8),
    );
    expect(driver.events()).toEqual([]);
  });

  it('has 512 entries, as Linux makes it', () => {
    const { unit } = booted();

    const length = (unit.readRegister(spec.COMMAND_BUFFER_BASE, 8) >> 56n) & 0xfn;

    expect(length).toBe(9n);
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

  it('gets more than fits the command buffer, without anybody waiting in between', async () => {
    const machine = bootedWithSlowHost();
    const { driver, host } = machine;
    const pending: Promise<void>[] = [];

    for (let page = 0; page < 800; page++) {
      pending.push(Promise.resolve(driver.map(NIC, page, 1, page, Access.Read)));
    }
    pending.push(Promise.resolve(driver.unmap(NIC, 0, 1)));
    host.confirm();
    await Promise.all(pending);

    expect(machine.leaves(NIC)).toHaveLength(799);
    const maps = Array.from({ length: 800 }, (_, page) => `map ${page}`);
    expect(host.told.toSorted()).toEqual([...maps, 'unmap 0'].toSorted());
  });

  it('makes turning the unit off wait', async () => {
    const { driver, host, unit } = bootedWithSlowHost();
    const mapped = driver.map(NIC, 0, 1, 1, Access.Read);

    const off = driver.setTranslation(false);
    let complete = false;
    const finished = Promise.resolve(off).then(() => (complete = true));
    await Promise.resolve();
    const early = complete;
    host.confirm();
    await Promise.all([mapped, finished]);

    expect(early).toBe(false);
    expect(unit.enabled).toBe(false);
    expect(host.told.slice(0, 2)).toEqual(['map 0', 'unmap 0']);
  });

  it('needs the settled option', async () => {
    const { memory, unit, allocator, host } = bootedWithSlowHost();
    const driver = new AmdviGuestDriver({ memory, registers: unit, allocator });
    driver.attach();

    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('stuck');
    expect(host.told).toEqual(['map 0']);
  });
});

describe('a unit that does not answer', () => {
  it('is reported when a wait never completes', async () => {
    const { unit, memory, allocator } = booted();
    const driver = new AmdviGuestDriver({
      memory,
      registers: deaf(unit),
      allocator,
      settled: () => undefined,
    });
    driver.attach();

    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('stuck');
  });

  it('is reported when the command buffer stays full', async () => {
    const { unit, memory, allocator } = booted();
    const driver = new AmdviGuestDriver({
      memory,
      registers: deaf(unit),
      allocator,
      settled: () => undefined,
    });
    driver.attach();
    for (let i = 0; i < 510; i++) driver.submit([0, 0x1000_0000, 0, 0]);

    expect(await refusalCode(() => driver.invalidateAll())).toBe('stuck');
  });

  it.each([
    ['without the settled option', undefined],
    ['with it', (): void => undefined],
  ])('is reported when it does not start, %s', async (_what, settled) => {
    const { unit, memory, allocator } = new AmdviDriverMachine();
    const driver = new AmdviGuestDriver({
      memory,
      registers: deaf(unit),
      allocator,
      ...(settled === undefined ? {} : { settled }),
    });

    expect(await refusalCode(() => driver.boot({ deviceTablePages }))).toBe('stuck');
  });
});

describe('a unit behind which registers are fetched only now and then', () => {
  it('is driven through boot, map, unmap, and off and on', async () => {
    const machine = new AmdviDriverMachine();
    const late = new LateRegisters(machine.unit);
    const driver = new AmdviGuestDriver({
      memory: machine.memory,
      registers: late,
      allocator: machine.allocator,
      settled: () => late.settled(),
    });

    await driver.boot({ deviceTablePages });
    await driver.attachDevice(NIC, driver.createDomain({ mode: 3 }));
    await driver.map(NIC, 0, 8, 8, Access.Read);
    await driver.map(NIC, 16, 1, 9, Access.Write);
    await driver.unmap(NIC, 0, 8);
    await driver.setTranslation(false);
    await driver.setTranslation(true);

    expect(machine.leaves(NIC)).toEqual(['10+1>9 w']);
  });
});

describe('a command that the unit refuses', () => {
  it('is reported at the next wait, and in the event log', async () => {
    const { driver } = booted();

    driver.submit(UNKNOWN);

    expect(await refusalCode(() => driver.wait())).toBe('queue-error');
    expect(driver.events()).toMatchObject([{ code: spec.ILLEGAL_COMMAND_ERROR }]);
  });

  it('is left behind by starting anew, and everything is invalidated', async () => {
    const machine = booted();
    const { driver, ear } = machine;
    driver.submit(UNKNOWN);
    await refusalCode(() => driver.map(NIC, 1, 1, 1, Access.Read));
    ear.take();

    done(driver.recover());
    const heard = ear.take();
    done(driver.map(NIC, 2, 1, 2, Access.Read));

    expect(heard).toEqual(['all']);
    expect(machine.leaves(NIC)).toEqual(['1+1>1 r', '2+1>2 r']);
  });
});

/** Gives what was last fetched, and sends writes only when it is waited for. */
class LateRegisters implements RegisterAccess {
  readonly #unit: RegisterAccess;
  readonly #known: Map<number, bigint> = new Map();
  #writes: (() => void)[] = [];

  constructor(unit: RegisterAccess) {
    this.#unit = unit;
    this.#fetch();
  }

  readRegister(offset: number, _bytes: 4 | 8): bigint {
    const value = this.#known.get(offset);
    if (value === undefined) throw new Error(`register ${offset} was not fetched`);
    return value;
  }

  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.#writes.push(() => this.#unit.writeRegister(offset, value, bytes));
  }

  async settled(): Promise<void> {
    await Promise.resolve();
    for (const write of this.#writes.splice(0)) write();
    this.#fetch();
  }

  #fetch(): void {
    const registers = [
      spec.CONTROL,
      spec.EXTENDED_FEATURE,
      spec.STATUS,
      spec.COMMAND_BUFFER_HEAD,
      spec.EVENT_LOG_HEAD,
      spec.EVENT_LOG_TAIL,
    ];
    for (const offset of registers) this.#known.set(offset, this.#unit.readRegister(offset, 8));
  }
}
