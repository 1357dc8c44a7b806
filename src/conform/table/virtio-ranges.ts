import type { Scenario } from '../scenario.ts';
import { ATTACHED } from './virtio-mappings.ts';

const ALIGNED = {
  section: 'virtio 1.3, 5.13.6.5.2',
  requires:
    'if virt_start, phys_start or virt_end + 1 is not aligned on the page granularity, the device should reject the request with RANGE.',
};

/** MAPs that are not whole pages, have no RAM behind them, or leave the input range. */
export const VIRTIO_RANGES: readonly Scenario[] = [
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
];
