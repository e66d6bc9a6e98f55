print('mine: random')
