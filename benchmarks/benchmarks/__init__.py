"""fastgd's performance suite for airspeed velocity (asv)."""
