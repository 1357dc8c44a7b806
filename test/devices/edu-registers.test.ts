import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EduRegister, EduStatus } from '../../src/devices/index.ts';
import { eduHarness } from './edu-harness.ts';

describe('registers of edu', () => {
  test('identification is 1.0', () => {
    expect(eduHarness().read4(EduRegister.Identification)).toBe(0x010000ed);
  });

  test('liveness reads inverted', () => {
    const edu = eduHarness();

    edu.write4(EduRegister.Liveness, 0x1234_5678);

    expect(edu.read4(EduRegister.Liveness)).toBe(0xedcb_a987);
  });

  test.each([
    ['a byte', 0x00, 1],
    ['eight bytes below 0x80', 0x00, 8],
    ['between two registers', 0x02, 4],
    ['where no register is', 0x40, 4],
    ['between two 8-byte registers', 0x82, 4],
    ['8 bytes across two registers', 0x84, 8],
    ['two bytes', 0x80, 2],
    ['the buffer, which is for transfers only', 0x40000, 4],
    ['the last bytes of the BAR', 0xffff8, 8],
    ['the whole BAR at once', 0, 2 ** 20],
  ])('%s reads as all ones', (_what, offset, bytes) => {
    const data = eduHarness().readRaw(offset, bytes);

    expect(data.every((byte) => byte === 0xff)).toBe(true);
  });

  test('an 8-byte register can be written and read by halves, the upper one second', () => {
    const edu = eduHarness();

    edu.write4(EduRegister.DmaSource, 0x89ab_cdef);
    edu.write4(EduRegister.DmaSource + 4, 0x0123_4567);

    expect(edu.read8(EduRegister.DmaSource)).toBe(0x0123_4567_89ab_cdefn);
    expect(edu.read4(EduRegister.DmaSource + 4)).toBe(0x0123_4567);
  });

  test('four bytes written to an 8-byte register clear its upper half', () => {
    const edu = eduHarness();
    edu.write8(EduRegister.DmaDestination, 2n ** 64n - 1n);

    edu.write4(EduRegister.DmaDestination, 0x1000);

    expect(edu.read8(EduRegister.DmaDestination)).toBe(0x1000n);
  });

  test('addresses keep all 64 bits', () => {
    const edu = eduHarness();

    edu.write8(EduRegister.DmaSource, 2n ** 64n - 1n);

    expect(edu.read8(EduRegister.DmaSource)).toBe(2n ** 64n - 1n);
  });
});

describe('factorials', () => {
  test.each([
    [0, 1],
    [1, 1],
    [5, 120],
    [12, 479_001_600],
    [13, 1_932_053_504],
    [33, 2_147_483_648],
    [34, 0],
    [0xffff_ffff, 0],
  ])('%i! modulo 2^32 is %i', async (number, expected) => {
    const edu = eduHarness();

    edu.write4(EduRegister.Factorial, number);
    await edu.settle();

    expect(edu.read4(EduRegister.Factorial)).toBe(expected);
  });

  test('the status says that it is being computed', async () => {
    const edu = eduHarness();

    edu.write4(EduRegister.Factorial, 5);

    expect(edu.read4(EduRegister.Status) & EduStatus.Computing).toBe(1);
    await edu.settle();
    expect(edu.read4(EduRegister.Status) & EduStatus.Computing).toBe(0);
  });

  test('a number that is written meanwhile is ignored', async () => {
    const edu = eduHarness();

    edu.write4(EduRegister.Factorial, 5);
    edu.write4(EduRegister.Factorial, 3);
    await edu.settle();

    expect(edu.read4(EduRegister.Factorial)).toBe(120);
  });

  test('raises interrupt 1 when asked to', async () => {
    const edu = eduHarness();
    edu.write4(EduRegister.Status, EduStatus.InterruptWhenDone);

    edu.write4(EduRegister.Factorial, 4);
    await edu.settle();

    expect(edu.interrupts).toEqual(['trigger 0']);
    expect(edu.read4(EduRegister.InterruptStatus)).toBe(1);
  });

  test('the interrupt status cannot be written by the status register', () => {
    const edu = eduHarness();

    edu.write4(EduRegister.Status, 0xffff_ffff);

    expect(edu.read4(EduRegister.Status)).toBe(EduStatus.InterruptWhenDone);
  });

  test('one that a reset overtakes is not stored', async () => {
    const edu = eduHarness();
    edu.write4(EduRegister.Factorial, 5);

    void edu.device.reset?.();
    await edu.settle();

    expect(edu.read4(EduRegister.Factorial)).toBe(0);
    expect(edu.read4(EduRegister.Status)).toBe(0);
  });
});

describe('interrupts', () => {
  test('raised bits gather; the line is lowered when the last is acknowledged', () => {
    const edu = eduHarness();

    edu.write4(EduRegister.InterruptRaise, 0x2);
    edu.write4(EduRegister.InterruptRaise, 0x8000_0000);
    edu.write4(EduRegister.InterruptAcknowledge, 0x2);
    const left = edu.read4(EduRegister.InterruptStatus);
    edu.write4(EduRegister.InterruptAcknowledge, 0x8000_0000);

    expect(left).toBe(0x8000_0000);
    expect(edu.interrupts).toEqual(['trigger 0', 'trigger 0', 'lower']);
  });

  test('raising nothing raises nothing', () => {
    const edu = eduHarness();

    edu.write4(EduRegister.InterruptRaise, 0);

    expect(edu.interrupts).toEqual([]);
  });

  test('a reset clears and lowers them', () => {
    const edu = eduHarness();
    edu.write4(EduRegister.InterruptRaise, 0x7);

    void edu.device.reset?.();

    expect(edu.read4(EduRegister.InterruptStatus)).toBe(0);
    expect(edu.interrupts.at(-1)).toBe('lower');
  });
});

test('nothing that a driver does throws, and identification stays', async () => {
  const offset = fc.oneof(
    fc.constantFrom<number>(...Object.values(EduRegister)),
    fc.nat({ max: 2 ** 20 - 8 }),
  );
  const access = fc.record({ offset, bytes: fc.constantFrom(1, 2, 3, 4, 8, 16), write: fc.boolean() });
  const accesses = fc.array(fc.tuple(access, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(accesses, async (list) => {
      const edu = eduHarness();
      for (const [{ offset, bytes, write }, value] of list) {
        if (write && bytes === 4) edu.write4(offset, Number(value & 0xffff_ffffn));
        else if (write && bytes === 8) edu.write8(offset, value);
        else edu.readRaw(offset, bytes);
      }
      await edu.settle();
      expect(edu.read4(EduRegister.Identification)).toBe(0x010000ed);
      expect(edu.read8(EduRegister.DmaCommand) & 1n).toBe(0n);
    }),
  );
});
