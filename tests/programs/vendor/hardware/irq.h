#pragma once
enum { DMA_IRQ_1 = 12 };
void irq_set_exclusive_handler(int, void (*)());
inline void irq_set_enabled(int, bool) {}
