import type { Scenario, Step } from '../scenario.ts';
import { BLOCKED } from './amdvi-devices.ts';

/** A device with one page in its domain. */
const ONE_PAGE: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
  { do: 'attach', who: 'nic', domain: 'd' },
];

/** Resets, hosts that cannot take everything, faults, and what no command buffer takes. */
export const AMDVI_STAGES: readonly Scenario[] = [
  {
    id: 'amdvi-reset',
    model: 'amdvi',
    title: 'the machine is reset with a mapping live, and boots anew',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'reset' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'boot' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: 'RAM' } } },
      ...ONE_PAGE,
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
    finding: BLOCKED,
  },
  {
    id: 'amdvi-off-and-on',
    model: 'amdvi',
    title: 'the IOMMU is turned off with a mapping live, and on again',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'translation', on: false },
      { do: 'expect', ledger: { nic: 'RAM' }, qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } } },
      { do: 'translation', on: true },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
    finding: {
      id: 'R31',
      qemu: 'leaves the mappings as they are: the device does not reach memory untranslated.',
      section: 'AMD-Vi 3.4, IOMMU Control Register, IommuEn',
      requires: '0: all upstream transactions are forwarded untranslated.',
    },
  },
  {
    id: 'amdvi-replug',
    model: 'amdvi',
    title: 'a device is unplugged, the tables change, and it is plugged again',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'unplug', who: 'nic' },
      { do: 'remap', domain: 'd', iova: '0x1000', size: '4K', to: '0x100007000', access: 'r' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100007000 r'] } },
    ],
  },
  {
    id: 'amdvi-full-at-plug',
    model: 'amdvi',
    title: 'a device is plugged whose host has room for two of three mappings',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '12K', to: '0x100001000', access: 'rw', leaf: '4K' },
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
    id: 'amdvi-full-later',
    model: 'amdvi',
    title: 'the guest maps more than the host of a plugged device can hold',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic', sink: { maxMappings: 1 } },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: [] },
        faults: ['01:00.0 r 0x2000 IO_PAGE_FAULT'],
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] }, faults: [] },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'prints the refusal and goes on: guest and host disagree, and nobody is told.',
      section: 'AMD-Vi 2.5.3',
      requires: 'a request that is blocked is reported to software in the event log.',
    },
  },
  {
    id: 'amdvi-faults',
    model: 'amdvi',
    title: 'accesses without permission and without a mapping are logged',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'r' },
      { do: 'dma', access: 'w', iova: '0x1000' },
      {
        do: 'expect',
        faults: ['00:05.0 w 0x1000 IO_PAGE_FAULT'],
        qemu: { faults: ['00:05.0 r 0x0 IO_PAGE_FAULT'] },
      },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: [] },
      { do: 'dma', access: 'r', iova: '0x9000' },
      {
        do: 'expect',
        faults: ['00:05.0 r 0x9000 IO_PAGE_FAULT'],
        qemu: { faults: ['00:05.0 r 0x0 IO_PAGE_FAULT'] },
      },
    ],
    finding: {
      id: 'R32',
      qemu: 'logs no address, and every access as a read.',
      section: 'AMD-Vi 2.5.3',
      requires:
        'Address holds the device virtual address of the request, and RW says whether it was a write.',
    },
  },
  {
    id: 'amdvi-spoilt-fault',
    model: 'amdvi',
    title: 'an access through a device table entry with a reserved bit set is logged',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'spoil', who: 'edu' },
      { do: 'invalidate', what: 'requester', who: 'edu' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      {
        do: 'expect',
        faults: ['00:05.0 r 0x1000 ILLEGAL_DEV_TABLE_ENTRY'],
        qemu: {
          faults: ['00:05.0 r 0x0 ILLEGAL_DEV_TABLE_ENTRY', '00:05.0 r 0x0 ILLEGAL_DEV_TABLE_ENTRY'],
        },
      },
    ],
    finding: {
      id: 'R32',
      qemu: 'logs the access twice, and no address.',
      section: 'AMD-Vi 2.5.2',
      requires: 'Address holds the device virtual address of the request.',
    },
  },
  {
    id: 'amdvi-illegal-command',
    model: 'amdvi',
    title: 'a command of a code that nobody knows stops the command buffer, until it is started anew',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      {
        do: 'request',
        bytes: '00000000000000f00000000000000000',
        answer: 'refused',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        // The fifth command in the buffer of the scenarios' driver.
        faults: ['00:00.0 r 0x7fdfe080 ILLEGAL_COMMAND_ERROR'],
        qemu: { faults: ['00:00.0 r 0x0 ILLEGAL_COMMAND_ERROR'] },
      },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
      },
    ],
    finding: {
      id: 'R47',
      qemu: 'logs no address and goes on with the next command.',
      section: 'AMD-Vi 2.5.6',
      requires:
        'Address holds that of the command, and no more commands are processed until software clears and sets CmdBufEn.',
    },
  },
];
