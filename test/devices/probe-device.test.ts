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

test('the MSI-X table and PBA of the probe lie in its BAR', () => {
  const { msix, bars } = probeDevice();

  expect(msix).toEqual({ vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 });
  expect(bars?.map((bar) => bar?.size)).toEqual([4096]);
});

test('every probe is one of its own', () => {
  expect(probeDevice()).not.toBe(probeDevice());
});
