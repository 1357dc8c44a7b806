import { describe, expect, test } from 'vitest';
import { EDU_BUFFER_START, EduRegister } from '../../src/devices/index.ts';
import { eduHarness, GUEST_BASE } from './edu-harness.ts';

const BUFFER = EDU_BUFFER_START;
const START = 1n;
const TO_MEMORY = 2n;
const INTERRUPT = 4n;

describe('DMA of edu', () => {
  test('goes in, and out somewhere else', async () => {
    const edu = eduHarness();
    edu.guest.set([1, 2, 3, 4, 5], 100);

    edu.transfer(GUEST_BASE + 100n, BUFFER + 7n, 5n, START);
    await edu.settle();
    edu.transfer(BUFFER + 7n, GUEST_BASE + 8000n, 5n, START | TO_MEMORY);
    await edu.settle();

    expect([...edu.guest.subarray(8000, 8006)]).toEqual([1, 2, 3, 4, 5, 0]);
    expect(edu.read8(EduRegister.DmaError)).toBe(0n);
    expect(edu.interrupts).toEqual([]);
  });

  test('begins only after the register write has returned', async () => {
    const edu = eduHarness();

    edu.transfer(GUEST_BASE, BUFFER, 4n, START);

    expect(edu.transfers).toEqual([]);
    expect(edu.read8(EduRegister.DmaCommand)).toBe(START);
    await edu.settle();
    expect(edu.transfers).toEqual(['read 4']);
    expect(edu.read8(EduRegister.DmaCommand)).toBe(0n);
  });

  test('raises interrupt 0x100 when asked to', async () => {
    const edu = eduHarness();

    edu.transfer(GUEST_BASE, BUFFER, 4n, START | INTERRUPT);
    await edu.settle();

    expect(edu.read4(EduRegister.InterruptStatus)).toBe(0x100);
    expect(edu.interrupts).toEqual(['trigger 0']);
  });

  test('the whole buffer is one transfer', async () => {
    const edu = eduHarness();

    edu.transfer(GUEST_BASE, BUFFER, 4096n, START);
    await edu.settle();

    expect(edu.transfers).toEqual(['read 4096']);
    expect(edu.read8(EduRegister.DmaError)).toBe(0n);
  });

  test('registers are not taken while a transfer runs', async () => {
    const edu = eduHarness();
    edu.stall = true;
    edu.transfer(GUEST_BASE, BUFFER, 4n, START);
    await edu.settle();

    edu.transfer(0n, 0n, 1n, START | TO_MEMORY);

    expect(edu.read8(EduRegister.DmaSource)).toBe(GUEST_BASE);
    expect(edu.read8(EduRegister.DmaCount)).toBe(4n);
    edu.letGo();
    await edu.settle();
    expect(edu.transfers).toEqual(['read 4']);
  });

  test('a command without the start bit is not taken', () => {
    const edu = eduHarness();

    edu.write8(EduRegister.DmaCommand, TO_MEMORY);

    expect(edu.read8(EduRegister.DmaCommand)).toBe(0n);
  });
});

describe('DMA of edu that fails', () => {
  test('at an address that is not mapped: the errno stays readable, and it is reported', async () => {
    const edu = eduHarness();

    edu.transfer(0x1000n, BUFFER, 8n, START);
    await edu.settle();

    expect(edu.read8(EduRegister.DmaCommand)).toBe(0n);
    expect(edu.read8(EduRegister.DmaError)).toBe(14n);
    expect(edu.observed).toEqual([
      {
        kind: 'edu-dma-failed',
        source: 'edu',
        message: 'DMA of 8 bytes to the buffer from 0x1000 failed: not mapped',
        details: { address: 0x1000n, count: 8n, errno: 14n },
      },
    ]);
  });

  test('still raises the interrupt that was asked for', async () => {
    const edu = eduHarness();

    edu.transfer(BUFFER, 0x1000n, 8n, START | TO_MEMORY | INTERRUPT);
    await edu.settle();

    expect(edu.interrupts).toEqual(['trigger 0']);
    expect(edu.read8(EduRegister.DmaError)).toBe(14n);
  });

  test.each([
    ['more than the buffer', BUFFER, 4097n],
    ['past its end', BUFFER + 4090n, 7n],
    ['before it', BUFFER - 1n, 1n],
    ['at zero', 0n, 1n],
    ['2^64-1 bytes', BUFFER, 2n ** 64n - 1n],
    ['the end of all addresses', 2n ** 64n - 1n, 1n],
  ])('%s: EINVAL, and no memory is touched', async (_what, place, count) => {
    const edu = eduHarness();

    edu.transfer(GUEST_BASE, place, count, START);
    await edu.settle();

    expect(edu.transfers).toEqual([]);
    expect(edu.read8(EduRegister.DmaError)).toBe(22n);
    expect(edu.read8(EduRegister.DmaCommand)).toBe(0n);
  });

  test('the next one that succeeds clears the error', async () => {
    const edu = eduHarness();
    edu.transfer(0x1000n, BUFFER, 8n, START);
    await edu.settle();

    edu.transfer(GUEST_BASE, BUFFER, 8n, START);
    await edu.settle();

    expect(edu.read8(EduRegister.DmaError)).toBe(0n);
  });
});

describe('DMA of edu and reset', () => {
  test('what a transfer from before a reset brings is dropped', async () => {
    const edu = eduHarness();
    edu.guest.fill(0xaa);
    edu.stall = true;
    edu.transfer(GUEST_BASE, BUFFER, 8n, START | INTERRUPT);
    await edu.settle();

    void edu.device.reset?.();
    edu.stall = false;
    edu.letGo();
    await edu.settle();
    edu.transfer(BUFFER, GUEST_BASE + 64n, 8n, START | TO_MEMORY);
    await edu.settle();

    expect([...edu.guest.subarray(64, 72)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(edu.interrupts).toEqual(['lower']);
  });

  test('one that was started again at once is done once', async () => {
    const edu = eduHarness();
    edu.transfer(GUEST_BASE, BUFFER, 8n, START);

    void edu.device.reset?.();
    edu.transfer(GUEST_BASE, BUFFER, 16n, START);
    await edu.settle();

    expect(edu.transfers).toEqual(['read 16']);
  });
});
