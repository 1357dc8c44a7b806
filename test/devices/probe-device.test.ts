import { expect, test } from 'vitest';
import { probeDevice } from '../../src/devices/index.ts';
import type { HandledBar } from '../../src/vfio-user/index.ts';

test('the probe reads as zeros whatever is written', () => {
  const bar = probeDevice().bars?.[0] as HandledBar;
  const data = new Uint8Array([9, 9, 9, 9]);

  void bar.write(0, data);
  void bar.read(0, data);

  expect([...data]).toEqual([0, 0, 0, 0]);
});

test('the probe can be unplugged from QEMU, which aborts with MSI-X', () => {
  const { msi, msix } = probeDevice();

  expect({ msi, msix }).toEqual({ msi: { vectors: 1 }, msix: undefined });
});

test('every probe is one of its own', () => {
  expect(probeDevice()).not.toBe(probeDevice());
});
