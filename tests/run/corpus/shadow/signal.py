print('mine: signal')
