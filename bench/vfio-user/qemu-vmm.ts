/**
 * QEMU with a guest that we drive from outside, so that no processor of it has to run.
 *
 *     node --import tsx qemu-vmm.ts
 *
 * Answers as vmm.ts says; the first line is `{"qemu":VERSION}`, or `{"missing":REASON}` and nothing more.
 *
 * @module
 */
import { PageAllocator, VtdGuestDriver } from '../../src/guests/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import type { QemuMachine } from '../../test/qemu/harness/qemu-machine.ts';
import { BenchGuest } from './guest.ts';
import { TABLE_RAM } from './layout.ts';
import { SynchronousRegisters } from './qemu-registers.ts';
import { median, nanoseconds, serveVmm, type Vmm, type VmmAnswer } from './vmm.ts';

class QemuVmm implements Vmm {
  readonly #machine: QemuMachine;
  readonly #registers: SynchronousRegisters;
  readonly #guest: BenchGuest;
  #plugs = 0;

  private constructor(machine: QemuMachine, registers: SynchronousRegisters, guest: BenchGuest) {
    this.#machine = machine;
    this.#registers = registers;
    this.#guest = guest;
  }

  static async start(machine: QemuMachine, requester: number): Promise<QemuVmm> {
    const registers = await SynchronousRegisters.of(machine.qemu.qtest);
    const driver = new VtdGuestDriver({
      memory: machine.memory,
      registers,
      allocator: new PageAllocator([TABLE_RAM]),
      settled: () => registers.settled(),
    });
    driver.attach();
    return new QemuVmm(machine, registers, await BenchGuest.of(driver, requester));
  }

  map(count: number): Promise<void> {
    return this.#guest.map(count);
  }

  async plug(socket: string): Promise<number> {
    const start = nanoseconds();
    await this.#machine.plug(socket, { id: `device${++this.#plugs}` });
    return nanoseconds() - start;
  }

  async sync(count: number): Promise<Pick<VmmAnswer, 'ns' | 'emptyNs'>> {
    const empty: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = nanoseconds();
      // Its bits are cleared by ones.
      this.#registers.writeRegister(spec.FSTS_REG, 0n, 4);
      await this.#registers.settled();
      empty.push(nanoseconds() - start);
    }
    return { ns: median(await this.#guest.sync(count)), emptyNs: median(empty) };
  }

  unplug(): Promise<void> {
    return this.#machine.unplug(`device${this.#plugs}`);
  }
}

// Standard output is for answers; what the harness has to say is for people.
console.log = console.error;
const { findQemu } = await import('../../test/qemu/harness/find-qemu.ts');
const found = findQemu();
if ('missing' in found) {
  process.stdout.write(`${JSON.stringify({ missing: found.missing })}\n`);
} else {
  const { QemuMachine, SLOTS } = await import('../../test/qemu/harness/qemu-machine.ts');
  // It ends with this process, however that comes about.
  const machine = await QemuMachine.start();
  const { qemu } = (await machine.qemu.qmp.execute('query-version')) as {
    readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
  };
  process.stdout.write(`${JSON.stringify({ qemu: `${qemu.major}.${qemu.minor}.${qemu.micro}` })}\n`);
  await serveVmm(await QemuVmm.start(machine, SLOTS.express.requester));
}
