import type { Scenario, Step } from '../scenario.ts';

/** A plugged device that is attached to a domain. */
const ATTACHED: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'plug', who: 'nic' },
  { do: 'attach', who: 'nic', domain: 'd' },
];

const ALIGNED = {
  section: 'virtio 1.3, 5.13.6.5.2',
  requires:
    'if virt_start, phys_start or virt_end + 1 is not aligned on the page granularity, the device should reject the request with RANGE.',
};

/** MAP and UNMAP. */
export const VIRTIO_MAPPINGS: readonly Scenario[] = [
  {
    id: 'virtio-map',
    model: 'virtio-iommu',
    title: 'a MAP of any size is one mapping, and its UNMAP takes it away',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x4000', size: '16K', to: '0x100003000', access: 'r' },
      { do: 'map', domain: 'd', iova: '0x10000', size: '4K', to: '0x100010000', access: 'w' },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x4000 16K -> 0x100003000 r', '0x10000 4K -> 0x100010000 w'],
        },
        messages: { nic: { maps: 3, unmaps: 0 } },
      },
      { do: 'unmap', domain: 'd', iova: '0x4000', size: '16K' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x10000 4K -> 0x100010000 w'] },
        messages: { nic: { maps: 0, unmaps: 1 } },
      },
    ],
  },
  {
    id: 'virtio-map-large',
    model: 'virtio-iommu',
    title: 'a MAP of 1 GiB and a page is one mapping',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1fffff000', size: '0x40001000', to: '0x100000000', access: 'rw' },
      { do: 'expect', ledger: { nic: ['0x1fffff000 1048580K -> 0x100000000 rw'] } },
    ],
  },
  {
    id: 'virtio-unmap-many',
    model: 'virtio-iommu',
    title: 'one UNMAP takes several mappings away, and the holes between them',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x8000', size: '16K', to: '0x100008000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x20000', size: '4K', to: '0x100020000', access: 'rw' },
      { do: 'unmap', domain: 'd', iova: '0x0', size: '64K' },
      { do: 'expect', ledger: { nic: ['0x20000 4K -> 0x100020000 rw'] } },
      { do: 'unmap', domain: 'd', iova: '0x0', size: '64K' },
      { do: 'expect', ledger: { nic: ['0x20000 4K -> 0x100020000 rw'] } },
    ],
  },
  {
    id: 'virtio-map-overlap',
    model: 'virtio-iommu',
    title: 'a MAP over what is mapped is refused and changes nothing',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x4000', size: '8K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x4000',
        size: '8K',
        to: '0x100001000',
        access: 'rw',
        answer: 'INVAL',
      },
      { do: 'map', domain: 'd', iova: '0x5000', size: '8K', to: '0x100008000', access: 'r', answer: 'INVAL' },
      {
        do: 'expect',
        ledger: { nic: ['0x4000 8K -> 0x100001000 rw'] },
        messages: { nic: { maps: 1, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'virtio-unmap-split',
    model: 'virtio-iommu',
    title: 'an UNMAP that would split one of several mappings is refused and removes none',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '8K', to: '0x100002000', access: 'rw' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '8K', answer: 'RANGE' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 8K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x2000 8K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R11',
      qemu: 'answers RANGE, and has removed the other mapping.',
      section: 'virtio 1.3, 5.13.6.6.2',
      requires:
        'if the range would split a mapping, the device should answer RANGE and should not remove any mapping.',
    },
  },
  {
    id: 'virtio-map-unaligned',
    model: 'virtio-iommu',
    title: 'a MAP whose ends lie within pages',
    steps: [
      ...ATTACHED,
      {
        do: 'map',
        domain: 'd',
        iova: '0x1000800',
        size: '0x1800',
        to: '0x100040800',
        access: 'r',
        answer: 'RANGE',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: [] },
        qemu: { ledger: { nic: ['0x1001000 4K -> 0x100041000 r'] } },
      },
    ],
    finding: { id: 'R9', qemu: 'answers OK and sends two maps, one of them of half a page.', ...ALIGNED },
  },
  {
    id: 'virtio-map-unaligned-target',
    model: 'virtio-iommu',
    title: 'a MAP whose target lies within a page',
    steps: [
      ...ATTACHED,
      {
        do: 'map',
        domain: 'd',
        iova: '0x1000',
        size: '4K',
        to: '0x100040800',
        access: 'r',
        answer: 'RANGE',
        qemu: { answer: 'done' },
      },
      { do: 'expect', ledger: { nic: [] } },
    ],
    finding: { id: 'R9', qemu: 'answers OK and sends a map that the host refuses.', ...ALIGNED },
  },
  {
    id: 'virtio-map-unaligned-end',
    model: 'virtio-iommu',
    title: 'a MAP whose last page is a half',
    steps: [
      ...ATTACHED,
      {
        do: 'map',
        domain: 'd',
        iova: '0x1000',
        size: '0x1800',
        to: '0x100001000',
        access: 'rw',
        answer: 'RANGE',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: [] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      },
    ],
    finding: { id: 'R9', qemu: 'answers OK, and the half page is a map that the host refuses.', ...ALIGNED },
  },
  {
    id: 'virtio-map-hole',
    model: 'virtio-iommu',
    title: 'a MAP to an address without RAM is mapped into no host',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x90000000', access: 'rw' },
      { do: 'expect', ledger: { nic: [] } },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'expect', ledger: { nic: [] } },
    ],
  },
  {
    id: 'virtio-map-half-ram',
    model: 'virtio-iommu',
    title: 'a MAP whose target is RAM for its first page and a hole for its second',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x2000', size: '8K', to: '0x7ffff000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x7ffff000 rw'] },
        qemu: { ledger: { nic: [] } },
      },
    ],
    finding: {
      id: 'R10',
      qemu: 'answers OK and maps nothing, not even the page that is RAM.',
      section: 'virtio 1.3, 5.13.6.5',
      requires: 'after the request succeeds, endpoints of the domain can access memory in the range.',
    },
  },
  {
    id: 'virtio-map-beyond',
    model: 'virtio-iommu',
    title: 'a MAP beyond input_range',
    steps: [
      ...ATTACHED,
      {
        do: 'map',
        domain: 'd',
        iova: '0x1000000000000',
        size: '4K',
        to: '0x100001000',
        access: 'rw',
        answer: 'RANGE',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: [] },
        qemu: { ledger: { nic: ['0x1000000000000 4K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R33',
      qemu: 'answers OK and maps it.',
      section: 'virtio 1.3, 5.13.6',
      requires:
        'a MAP request to addresses outside of input_range fails; RANGE stands for parameters that are out of range.',
    },
  },
  {
    id: 'virtio-map-last-page',
    model: 'virtio-iommu',
    title: 'the first and the last page of input_range',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x0', size: '4K', to: '0x100000000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0xfffffffff000', size: '4K', to: '0x100001000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: ['0x0 4K -> 0x100000000 rw', '0xfffffffff000 4K -> 0x100001000 rw'] },
      },
      { do: 'unmap', domain: 'd', iova: '0x0', size: '0x1000000000000' },
      { do: 'expect', ledger: { nic: [] } },
    ],
  },
  {
    id: 'virtio-map-reserved',
    model: 'virtio-iommu',
    title: 'a MAP over the interrupt doorbell that PROBE tells of',
    steps: [
      ...ATTACHED,
      {
        do: 'map',
        domain: 'd',
        iova: '0xfee00000',
        size: '4K',
        to: '0x100001000',
        access: 'rw',
        answer: 'INVAL',
        qemu: { answer: 'done' },
      },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: ['0xfee00000 4K -> 0x100001000 rw'] } } },
    ],
    finding: {
      id: 'R34',
      qemu: 'answers OK and maps it.',
      section: 'virtio 1.3, 5.13.6.8.1.2',
      requires: 'the device should reject a MAP request that overlaps a RESV_MEM region.',
    },
  },
  {
    id: 'virtio-no-domain',
    model: 'virtio-iommu',
    title: 'MAP and UNMAP in a domain that does not exist',
    steps: [
      ...ATTACHED,
      { do: 'domain', name: 'nobody' },
      {
        do: 'map',
        domain: 'nobody',
        iova: '0x1000',
        size: '4K',
        to: '0x100001000',
        access: 'rw',
        answer: 'NOENT',
      },
      { do: 'unmap', domain: 'nobody', iova: '0x1000', size: '4K', answer: 'NOENT' },
    ],
  },
  {
    id: 'virtio-full',
    model: 'virtio-iommu',
    title: 'a MAP that the host of the device cannot take is refused and changes nothing',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'plug', who: 'nic', sink: { maxMappings: 1 } },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x2000',
        size: '4K',
        to: '0x100002000',
        access: 'rw',
        answer: 'NOMEM',
        qemu: { answer: 'done' },
      },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'map', domain: 'd', iova: '0x3000', size: '4K', to: '0x100003000', access: 'rw' },
      { do: 'expect', ledger: { nic: ['0x3000 4K -> 0x100003000 rw'] } },
    ],
    finding: {
      id: 'R21',
      qemu: 'answers OK, prints the refusal, and goes on: guest and host disagree.',
      section: 'virtio 1.3, 5.13.6.5',
      requires:
        'after the request succeeds, all endpoints of the domain can access memory in the range; NOMEM stands for insufficient resources.',
    },
  },
  {
    id: 'virtio-full-one-of-two',
    model: 'virtio-iommu',
    title: 'a MAP in a domain of two devices, of which one host has no room',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'plug', who: 'nic' },
      { do: 'plug', who: 'disk', sink: { end: '0x100000000' } },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'attach', who: 'disk', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x100000000',
        size: '4K',
        to: '0x100002000',
        access: 'rw',
        answer: 'NOMEM',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'], disk: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x100000000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'answers OK, prints the refusal, and goes on: the devices of one domain reach different memory.',
      section: 'virtio 1.3, 5.13.6.5',
      requires:
        'after the request succeeds, all endpoints of the domain can access memory in the range; NOMEM stands for insufficient resources.',
    },
  },
];
