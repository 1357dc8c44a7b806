import type { Scenario, Step } from '../scenario.ts';

/** A device with one page in its domain. */
const ONE_PAGE: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
];

const OFF_RULE = {
  section: 'vfio-user, VFIO_USER_DMA_UNMAP',
  requires:
    'an unmap names a range that was mapped; what was mapped is unmapped before something else takes its place.',
};

/** Translation on and off, resets, plugs and unplugs in every order, and hosts that cannot take everything. */
export const VTD_STAGES: readonly Scenario[] = [
  {
    id: 'vtd-translation-off',
    model: 'vtd',
    title: 'translation is turned off with a leaf of 2 MiB live, and on again',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', messages: { nic: { maps: 1, unmaps: 0 } } },
      { do: 'translation', on: false },
      {
        do: 'expect',
        ledger: { nic: 'RAM' },
        messages: { nic: { maps: 2, unmaps: 1 } },
        qemu: { messages: { nic: { maps: 6, unmaps: 30 } } },
      },
      { do: 'translation', on: true },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
    finding: {
      id: 'R1',
      qemu: 'sends 30 unmaps of power-of-two pieces of the address space, none of them the mapping.',
      ...OFF_RULE,
    },
  },
  {
    id: 'vtd-translation-off-exact',
    model: 'vtd',
    title: 'translation is turned off with a leaf of 2 MiB live, on a host that takes exact unmaps only',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
      { do: 'plug', who: 'nic', sink: { unmap: 'exact' } },
      { do: 'translation', on: false },
      {
        do: 'expect',
        ledger: { nic: 'RAM' },
        qemu: {
          ledger: {
            nic: ['0x0 768K -> 0x0 rw', '0x400000 2M -> 0x100400000 rw', '0x100000000 2G -> 0x100000000 rw'],
          },
        },
      },
    ],
    finding: {
      id: 'R2',
      qemu: 'every unmap fails; RAM does not fit over the mapping that stayed, and the device loses most of it.',
      ...OFF_RULE,
    },
  },
  {
    id: 'vtd-plug-untranslated',
    model: 'vtd',
    title: 'a device is plugged while translation is off, which is then turned on and off',
    steps: [
      ...ONE_PAGE,
      { do: 'translation', on: false },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'translation', on: true },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'r' },
      { do: 'translation', on: false },
      { do: 'expect', ledger: { nic: 'RAM' } },
    ],
  },
  {
    id: 'vtd-map-while-off',
    model: 'vtd',
    title: 'tables are changed while translation is off',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'translation', on: false },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'map', domain: 'd', iova: '0x3000', size: '4K', to: '0x100003000', access: 'rw' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'translation', on: true },
      { do: 'expect', ledger: { nic: ['0x3000 4K -> 0x100003000 rw'] } },
    ],
  },
  {
    id: 'vtd-reset',
    model: 'vtd',
    title: 'the machine is reset with a mapping live, and boots anew',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'reset' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'boot' },
      { do: 'expect', ledger: { nic: [] } },
      ...ONE_PAGE,
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
  {
    id: 'vtd-plug-before-boot',
    model: 'vtd',
    title: 'a device is plugged before its guest boots',
    steps: [
      { do: 'reset' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'boot' },
      { do: 'expect', ledger: { nic: [] } },
      ...ONE_PAGE,
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
  {
    id: 'vtd-replug',
    model: 'vtd',
    title: 'a device is unplugged, the tables change, and it is plugged again',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'unplug', who: 'nic' },
      { do: 'remap', domain: 'd', iova: '0x1000', size: '4K', to: '0x100007000', access: 'r' },
      { do: 'plug', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100007000 r'] },
        messages: { nic: { maps: 1, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'vtd-unplug-untranslated',
    model: 'vtd',
    title: 'a device is unplugged while translation is off, and another stays',
    steps: [
      ...ONE_PAGE,
      { do: 'attach', who: 'disk', domain: 'd' },
      { do: 'plug', who: 'nic' },
      { do: 'plug', who: 'disk' },
      { do: 'translation', on: false },
      { do: 'unplug', who: 'nic' },
      { do: 'translation', on: true },
      { do: 'expect', ledger: { disk: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
  {
    id: 'vtd-full-at-plug',
    model: 'vtd',
    title: 'a device is plugged whose host announces room for two of three mappings',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '12K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic', sink: { maxMappings: 2 }, answer: 'refused', qemu: { answer: 'done' } },
    ],
    finding: {
      id: 'R18',
      qemu: 'sends three mappings to a host that announced max_dma_maps 2, prints the refusal, and accepts the device without one.',
      section: 'vfio-user, VFIO_USER_VERSION',
      requires: 'max_dma_maps is the number of mappings that may be there at one time.',
    },
  },
  {
    id: 'vtd-full-later',
    model: 'vtd',
    title: 'the guest maps more than the host of a plugged device can hold, and then less',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic', sink: { maxMappings: 2 } },
      { do: 'map', domain: 'd', iova: '0x2000', size: '8K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: [] },
        faults: ['01:00.0 r 0x3000 LGN.1'],
        qemu: {
          ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
          faults: [],
        },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'prints the refusal and goes on: guest and host disagree, and nobody is told.',
      section: 'VT-d 7.1',
      requires: 'a request that is blocked is reported to software by a fault record.',
    },
  },
  {
    id: 'vtd-out-of-reach',
    model: 'vtd',
    title: 'the host of a plugged device refuses the one page that lies beyond its reach',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic', sink: { end: '0x100000000' } },
      { do: 'map', domain: 'd', iova: '0x100000000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: [] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'prints the refusal and goes on: guest and host disagree, and nobody is told.',
      section: 'VT-d 7.1',
      requires: 'a request that is blocked is reported to software by a fault record.',
    },
  },
  {
    id: 'vtd-faults',
    model: 'vtd',
    title: 'accesses without permission, without a mapping and without a context entry are recorded',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'r' },
      { do: 'dma', access: 'w', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 w 0x1000 LGN.2'] },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: [] },
      { do: 'dma', access: 'r', iova: '0x9000' },
      { do: 'expect', faults: ['00:05.0 r 0x9000 LGN.3'] },
      { do: 'detach', who: 'edu' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 r 0x1000 LCT.2'] },
    ],
  },
  {
    id: 'vtd-fault-cached',
    model: 'vtd',
    title: 'a page is read, as it may be, and then written, as it may not be',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'r' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: [] },
      { do: 'dma', access: 'w', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 w 0x1000 LGN.2'], qemu: { faults: [] } },
    ],
    finding: {
      id: 'R25',
      qemu: 'finds the page in its IOTLB, blocks the write and records nothing.',
      section: 'VT-d 7.1.3, LGN.2',
      requires: 'a write without write permission is blocked and recorded as a fault.',
    },
  },
];
