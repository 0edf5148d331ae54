/* ESP-IDF 5.5, components/soc/CHIP/include/soc/soc_caps.h: the test says which chip it is. */
#pragma once
