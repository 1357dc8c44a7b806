/** What a guest learns that its invalidation is complete by, and that it learns it only when slow hosts have confirmed. @module */
import { describe, expect, test } from 'vitest';
import { Access, PageCursor } from '../../src/memory/index.ts';
import { lookupRequest, spec } from '../../src/models/vtd/index.ts';
import { MemoryHostIommu } from '../../src/vfio/index.ts';
import { HIGH, NIC, ScenarioMachine } from '../scenarios/scenario-machine.ts';
import { DelayedHostIommu } from '../vfio/delayed-host.ts';

/** A device on a host that answers when it is told to, onto two pages. */
async function slowDevice(mode: 'legacy' | 'scalable' = 'legacy') {
  const machine = new ScenarioMachine({ mode });
  const domain = machine.nicDomain();
  await machine.driver.map(domain, 0x400, 2, HIGH, Access.ReadWrite);
  const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
  const host = new DelayedHostIommu(inner, { answers: 'when-told' });
  const plug = machine.machine.plug(machine.nicPlace, host);
  host.answer();
  const device = await plug;
  return { machine, driver: machine.driver, domain, inner, host, device };
}

/** Long enough for everything that waits for nobody. */
async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 5));
}

function read(machine: ScenarioMachine, offset: number): number {
  return Number(machine.iommu.readRegister(offset, 4));
}

/** GSTS_REG.TES. */
function tes(machine: ScenarioMachine): boolean {
  return (read(machine, spec.GSTS_REG) & spec.GSTS_TES) !== 0;
}

/** Clears the leaf of page 0x400 without telling the unit. */
function clearLeaf(machine: ScenarioMachine): void {
  const table = machine.driver.domainOf(NIC)?.tables?.tableAt(0x400, 1) ?? Number.NaN;
  machine.driver.writeEntry(table, 0, 0, 0);
}

/** Where a wait descriptor writes its status, and whether it has. */
function waitOn(machine: ScenarioMachine): { readonly submit: () => void; readonly status: () => number } {
  const page = machine.driver.allocatePage();
  return {
    submit: () => {
      const words = [spec.TYPE_INV_WAIT_DSC, 0, 0, 0];
      const { SW, STDATA, STADDR_PAGE } = spec.INV_WAIT_DSC.fields;
      spec.writeField(words, SW, 1);
      spec.writeField(words, STDATA, 0x1234);
      spec.writeField(words, STADDR_PAGE, page);
      machine.driver.submit(words);
    },
    status: () => {
      const cursor = new PageCursor();
      machine.guest.memory.locate(page, cursor);
      return cursor.words[cursor.base] ?? Number.NaN;
    },
  };
}

function iotlbInvalidation(domain: number): number[] {
  const words = [spec.TYPE_IOTLB_INV_DSC, 0, 0, 0];
  spec.writeField(words, spec.IOTLB_INV_DSC.fields.G, spec.IOTLB_DOMAIN);
  spec.writeField(words, spec.IOTLB_INV_DSC.fields.DID, domain);
  return words;
}

/** The same device, with the queue turned off. */
async function withoutQueue() {
  const world = await slowDevice();
  const { iommu } = world.machine;
  const status = iommu.readRegister(spec.GSTS_REG, 4);
  iommu.writeRegister(spec.GCMD_REG, status & ~BigInt(spec.GCMD_QIE >>> 0) & 0x96ff_ffffn, 4);
  return world;
}

describe.each(['legacy', 'scalable'] as const)('a wait descriptor (%s mode)', (mode) => {
  test('has its status written only after the host has confirmed the unmaps before it', async () => {
    const { machine, domain, inner, host } = await slowDevice(mode);
    const wait = waitOn(machine);
    clearLeaf(machine);

    machine.driver.submit(iotlbInvalidation(domain.id));
    wait.submit();
    await pause();
    const before = { status: wait.status(), held: inner.size };
    // The invalidation was under way when the wait came: the wait has a run of its own behind it.
    host.answer();
    await machine.iommu.settled();

    expect(before).toEqual({ status: 0, held: 2 });
    expect({ status: wait.status(), held: inner.size }).toEqual({ status: 0x1234, held: 1 });
  });

  test('leaves IQH before the invalidation until then', async () => {
    const { machine, domain, host } = await slowDevice(mode);
    clearLeaf(machine);
    const head = read(machine, spec.IQH_REG);

    machine.driver.submit(iotlbInvalidation(domain.id));
    await pause();
    const before = read(machine, spec.IQH_REG);
    host.answer();
    await machine.iommu.settled();

    expect(before).toBe(head);
    expect(read(machine, spec.IQH_REG)).toBe(read(machine, spec.IQT_REG));
  });

  test('waits for every device of the domain', async () => {
    const { machine, domain, inner, host } = await slowDevice(mode);
    await machine.driver.attachDevice(0x18, domain);
    const otherInner = new MemoryHostIommu({ strictness: 'type1' });
    const other = new DelayedHostIommu(otherInner, { answers: 'when-told' });
    const plug = machine.machine.plug({ bus: machine.machine.pci, device: 3, name: 'other' }, other);
    other.answer();
    await plug;
    const wait = waitOn(machine);
    clearLeaf(machine);

    machine.driver.submit(iotlbInvalidation(domain.id));
    wait.submit();
    host.answer();
    await pause();
    const afterOne = { status: wait.status(), held: [inner.size, otherInner.size] };
    other.answer();
    await machine.iommu.settled();

    expect(afterOne).toEqual({ status: 0, held: [1, 2] });
    expect({ status: wait.status(), held: [inner.size, otherInner.size] }).toEqual({
      status: 0x1234,
      held: [1, 1],
    });
  });

  test('does not wait for a device of another domain', async () => {
    const { machine, inner, host } = await slowDevice(mode);
    const other = machine.driver.createDomain({ levels: 4 });
    const wait = waitOn(machine);
    clearLeaf(machine);

    machine.driver.submit(iotlbInvalidation(other.id));
    wait.submit();

    expect(wait.status()).toBe(0x1234);
    expect(host.unanswered).toBe(0);
    expect(inner.size).toBe(2);
  });

  test('is complete, and the guest goes on, when the host is lost instead of answering', async () => {
    const { machine, domain, host, device } = await slowDevice(mode);
    const wait = waitOn(machine);
    host.failAt = host.calls + 1;
    host.fault = 'die';
    clearLeaf(machine);

    machine.driver.submit(iotlbInvalidation(domain.id));
    wait.submit();
    while (wait.status() === 0) {
      if (host.unanswered > 0) host.answer();
      await pause();
    }

    expect(device.container.state.kind).toBe('host-lost');
    expect(wait.status()).toBe(0x1234);
  });

  test('is complete at once when nothing changed', async () => {
    const { machine, domain, host } = await slowDevice(mode);
    const wait = waitOn(machine);

    machine.driver.submit(iotlbInvalidation(domain.id));
    wait.submit();

    expect(wait.status()).toBe(0x1234);
    expect(host.unanswered).toBe(0);
  });
});

describe('a domain switch', () => {
  test('is complete only when the old mappings are gone from the host', async () => {
    const { driver, inner, host } = await slowDevice('scalable');
    const other = driver.createDomain({ levels: 4 });
    await driver.map(other, 0x10, 1, HIGH, Access.Read);

    let done = false;
    const change = Promise.resolve(driver.switchDomain(NIC, other)).then(() => (done = true));
    await pause();
    const before = { done, held: inner.size };
    host.answer();
    await change;

    expect(before).toEqual({ done: false, held: 2 });
    expect([...inner.mappings()]).toMatchObject([
      { iova: 0x10, pages: 1, target: HIGH, access: Access.Read },
    ]);
  });
});

describe('GSTS_REG.TES', () => {
  test('stays set until the host has confirmed that translation is off', async () => {
    const { machine, driver, inner, host } = await slowDevice();

    const off = Promise.resolve(driver.setTranslation(false));
    await pause();
    const before = { tes: tes(machine), held: inner.size };
    host.answer();
    await off;

    expect(before).toEqual({ tes: true, held: 2 });
    expect(tes(machine)).toBe(false);
    expect(inner.translate(0x40_0000n)?.gpa).toBe(0x40_0000n);
  });

  test('stays clear until the host has confirmed that RAM is gone', async () => {
    const { machine, driver, inner, host } = await slowDevice();
    const off = Promise.resolve(driver.setTranslation(false));
    host.answer();
    await off;

    const on = Promise.resolve(driver.setTranslation(true));
    await pause();
    const before = { tes: tes(machine), gpa: inner.translate(0n)?.gpa };
    host.answer();
    await on;

    expect(before).toEqual({ tes: false, gpa: 0n });
    expect(tes(machine)).toBe(true);
    expect(inner.translate(0n)).toBeUndefined();
    expect(inner.size).toBe(2);
  });
});

describe('register-based invalidation', () => {
  const IOTLB_REG = spec.BASE_CAPABILITY.IRO * 16 + 8;
  const IVT = 1n << 63n;
  const ICC = 1n << 63n;

  test('IOTLB_REG.IVT stays set until the host has confirmed', async () => {
    const { machine, inner, host } = await withoutQueue();
    const { iommu } = machine;
    clearLeaf(machine);

    iommu.writeRegister(IOTLB_REG, IVT | (1n << 60n), 8);
    await pause();
    const before = { ivt: iommu.readRegister(IOTLB_REG, 8) & IVT, held: inner.size };
    host.answer();
    await iommu.settled();

    expect(before).toEqual({ ivt: IVT, held: 2 });
    expect(iommu.readRegister(IOTLB_REG, 8) >> 57n).toBe((1n << 3n) | 1n);
    expect(inner.size).toBe(1);
  });

  test('CCMD_REG.ICC stays set until the host has confirmed', async () => {
    const { machine, inner, host } = await withoutQueue();
    const { iommu } = machine;
    lookupRequest(iommu, NIC, undefined, ({ structure, table, offset }) => {
      if (structure === 'context entry') machine.driver.writeEntry(table, offset / 8, 0, 0);
    });

    iommu.writeRegister(spec.CCMD_REG, ICC | (1n << 61n), 8);
    await pause();
    const before = { icc: iommu.readRegister(spec.CCMD_REG, 8) & ICC, held: inner.size };
    host.answer();
    await iommu.settled();

    expect(before).toEqual({ icc: ICC, held: 2 });
    expect(iommu.readRegister(spec.CCMD_REG, 8) >> 59n).toBe((1n << 2n) | 1n);
    expect(inner.size).toBe(0);
  });
});
