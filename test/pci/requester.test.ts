import { describe, expect, it } from 'vitest';
import { formatRequesterId, parseRequesterId } from '../../src/iommu/index.ts';
import { PciBus, requesterOf } from '../../src/pci/index.ts';

describe('requesterOf', () => {
  it('is the function itself on the root bus', () => {
    const fn = new PciBus().attach('nic', 4, 2);
    expect(formatRequesterId(requesterOf(fn))).toBe('00:04.2');
  });

  it('is the function itself below a PCI Express root port', () => {
    const port = new PciBus().attachBridge('rp', 2, 0, 'root-port', 1);
    const fn = port.secondary.attach('nic', 0, 3);
    expect(formatRequesterId(requesterOf(fn))).toBe('01:00.3');
  });

  it('is device 0 function 0 of the secondary bus below a PCIe-to-PCI bridge', () => {
    const port = new PciBus().attachBridge('rp', 2, 0, 'root-port', 1);
    const bridge = port.secondary.attachBridge('br', 0, 0, 'pcie-to-pci', 2);
    const fn = bridge.secondary.attach('e1000', 1);
    expect(formatRequesterId(requesterOf(fn))).toBe('02:00.0');
  });

  it('is the same for every function below a PCIe-to-PCI bridge', () => {
    const bridge = new PciBus().attachBridge('br', 3, 0, 'pcie-to-pci', 2);
    const one = bridge.secondary.attach('one', 1);
    const two = bridge.secondary.attach('two', 2, 5);
    expect(requesterOf(one)).toBe(requesterOf(two));
  });

  it('is the bridge below a conventional bridge', () => {
    const bridge = new PciBus().attachBridge('br', 0x1e, 0, 'pci-to-pci', 5);
    const fn = bridge.secondary.attach('sound', 7, 1);
    expect(formatRequesterId(requesterOf(fn))).toBe('00:1e.0');
  });

  it('follows the bridge nearest the root where conventional buses are stacked', () => {
    const outer = new PciBus().attachBridge('outer', 3, 0, 'pcie-to-pci', 2);
    const inner = outer.secondary.attachBridge('inner', 4, 0, 'pci-to-pci', 3);
    const fn = inner.secondary.attach('nic', 1);
    expect(formatRequesterId(requesterOf(fn))).toBe('02:00.0');
  });
});

describe('PciBus', () => {
  it('refuses a slot that is taken and names who is there', () => {
    const bus = new PciBus();
    bus.attach('first', 4);
    expect(() => bus.attach('second', 4)).toThrow('slot 00:04.0 holds first already');
  });

  it('refuses a bus number that is in use anywhere in the hierarchy', () => {
    const root = new PciBus();
    const port = root.attachBridge('rp', 2, 0, 'root-port', 1);
    expect(() => port.secondary.attachBridge('br', 0, 0, 'pcie-to-pci', 1)).toThrow('bus number 1 is in use');
  });

  it('frees the slot on detach', () => {
    const bus = new PciBus();
    bus.detach(bus.attach('first', 4));
    expect(bus.attach('second', 4).bdf).toBe('00:04.0');
  });

  it('refuses to detach a bridge that has functions below it', () => {
    const root = new PciBus();
    const port = root.attachBridge('rp', 2, 0, 'root-port', 1);
    port.secondary.attach('nic', 0);
    expect(() => root.detach(port)).toThrow('has functions below it');
  });

  it('finds a bus at any depth', () => {
    const root = new PciBus();
    const port = root.attachBridge('rp', 2, 0, 'root-port', 1);
    const bridge = port.secondary.attachBridge('br', 0, 0, 'pcie-to-pci', 2);
    expect(root.findBus(2)).toBe(bridge.secondary);
  });
});

describe('parseRequesterId', () => {
  it.each(['02:01.0', '0000:02:01.0'])('reads %s', (text) => {
    expect(parseRequesterId(text)).toBe(0x208);
  });

  it.each(['', '02:20.0', '02:01.8', '2', 'gg:00.0', '02:01', '02:01.0 '])('refuses %j', (text) => {
    expect(parseRequesterId(text)).toBeUndefined();
  });
});
