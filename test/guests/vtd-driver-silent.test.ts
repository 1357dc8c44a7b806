/** Structures that change without a word to the unit. @module */
import { describe, expect, it } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { done } from './driver-leaves.ts';
import { DriverMachine, NIC } from './vtd-driver-machine.ts';

/** Two domains with a page each; the ear has heard nothing. */
function booted(mode: 'legacy' | 'scalable') {
  const machine = new DriverMachine();
  const { driver, ear } = machine;
  done(driver.boot({ mode }));
  const [a, b] = [driver.createDomain({ levels: 4 }), driver.createDomain({ levels: 4 })];
  done(driver.map(a, 1, 1, 1, Access.Read));
  done(driver.map(b, 2, 1, 2, Access.Read));
  ear.take();
  return { machine, driver, ear, a, b };
}

describe.each(['legacy', 'scalable'] as const)('a silent change (%s)', (mode) => {
  it('attaches, and posts nothing', () => {
    const { driver, ear, a } = booted(mode);

    done(driver.attachDevice(NIC, a, 0, { silent: true }));

    expect(ear.take()).toEqual([]);
    expect(driver.domainOf(NIC)).toBe(a);
  });

  it('detaches, and posts nothing', () => {
    const { driver, ear, a } = booted(mode);
    done(driver.attachDevice(NIC, a));
    ear.take();

    done(driver.detachDevice(NIC, 0, { silent: true }));

    expect(ear.take()).toEqual([]);
    expect(driver.domainOf(NIC)).toBeUndefined();
  });

  it('switches, and the unit looks when everything is invalidated', () => {
    const { machine, driver, ear, a, b } = booted(mode);
    done(driver.attachDevice(NIC, a));
    ear.take();

    done(driver.switchDomain(NIC, b, 0, { silent: true }));
    const before = ear.take();
    done(driver.invalidateAll());

    expect(before).toEqual([]);
    expect(machine.leaves(NIC)).toEqual(['2+1>2 r']);
  });
});
